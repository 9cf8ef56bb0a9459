"""The names of tables, figures and logs in words. The report links each name that it shows to its entry at the page's end, and lists no other."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

TERMS = {
    # scores and their intervals
    "IQM": "Interquartile mean: the mean of the middle half of the seeds' scores; with fewer than 4 seeds it is their mean.",
    "95 %": "An interval meant to hold the true value in 95 of 100 repetitions of the whole experiment: of scores a t interval, whose standard error is that "
    "of bootstrap resamples of the seeds; of P(beats first) and of shares of seeds a score interval, as Wilson's. Scores that are shares are cut at 0 and 1; a "
    "return is not, so an end may lie beyond what the task can give: few seeds that differ much do not tell where the mean is.",
    "range of 2 seeds": "The lower and the higher of two scores. It holds the true value about every second time: it is no 95 % interval.",
    "1 seed": "One seed has no spread that could be measured, so there is no interval.",
    "P(beats first)": "How likely a seed of this method scores above a seed of the task's first method, ties counting one half: 0.5 says nothing. It says how "
    "often, not by how much.",
    "seeds": "Independent repetitions: each has its own initial weights, episodes and draws. The seeds of several runs of one method are pooled.",
    "return": "The sum of an episode's rewards, not discounted, mean over the evaluation's episodes, with the policy's most likely actions.",
    "success": "The share of an evaluation's episodes that reached their goal, 0 to 1, with the policy's most likely actions. An environment says it by "
    "info['is_success'] at an episode's end; what is cut has not succeeded, nor what ends without a word of it.",
    "pass@1": "The share of right answers among those drawn for held-out problems, 0 to 1.",
    "pass@k": "The chance that at least one of k answers to a held-out problem is right, estimated without bias from those drawn, mean over the problems.",
    "value": "What a policy can expect from its first state on, of a finite MDP: the sum of rewards, discounted where there is no horizon. It is computed.",
    "suboptimality": "The largest value that any policy has, less this one's. It is computed.",
    "optimal value": "The largest value that any policy has.",
    "visits": "The share of its time that a policy spends in a state, over its episodes, or with every step counted less by the discount. It is computed.",
    "worst-case value": "The policy's value under what is worst for it: the transitions of the uncertainty set; in a game the opponent, mean over both "
    "players. It is computed.",
    "exploitability": "What a player of a game gains on average by a best response in the place of the policy, while the other keeps to it: mean over both "
    "players (NashConv / 2). 0 of equilibria alone. It is computed.",
    "exploitability exponent": "How exploitability fell with the number of iterations, over the newest factor of 100 in it: the slope of the line through the "
    "logarithms of both. -1/2: as one over the root; -1: as one over the number.",
    "value of player 1": "What the first player of a game is paid on average where both play the policy.",
    "divergence from equilibrium": "KL divergence in nats from the regularised equilibrium of a preference game to the policy.",
    "robust optimum": "The largest worst-case value that any policy has.",
    "CVaR": "Conditional value at risk: the mean of the worst share of a policy's returns, of the share that the method was asked for. It is computed.",
    "distance from the target": "The mean distance of a policy's return from the return that it was asked for. It is computed.",
    "episodes played": "Episodes that a seed played to learn from.",
    "regret": "What a seed lost by playing as it did and not optimally: the sum, over all episodes that it played, of the largest value that any policy has "
    "less that of the policy that played; where every round has rewards of its own, of the one policy that would have gained most in all of them. It is "
    "computed from the problem, and no noise is in it.",
    "regret exponent": "How regret grew with the number of episodes, over the newest factor of 100 in it: the slope of the line through the logarithms of "
    "both. 1: nothing is learned; 1/2: as the root; near 0: it has all but stopped.",
    "QD score": "The sum, over an archive's filled cells, of their elites' fitness less the lowest that counts: better and more different ones raise it.",
    "coverage": "The share of an archive's cells that are filled.",
    "before training": "The same score of the policy that training began from, on the same problems or episodes.",
    "performance profile": "For every threshold the share of seeds whose final score is above it. A curve that lies higher everywhere is better everywhere.",
    "samples": "Answers that a seed drew in training.",
    "tokens": "Tokens of the answers that a seed drew in training.",
    "steps": "How long a seed trained, in the unit that the axes name: environment steps, updates, or iterations (one batch of answers and its updates).",
    "seconds": "Wall time of the whole run, all seeds, with its evaluations.",
    "steps/s": "Steps of all seeds a second of training alone; a policy that does not train has none.",
    "fixed policy": "A policy that does not train: it was evaluated once, and its score is drawn along the whole of training.",
    # completions
    "entropy": "How undecided the policy is: the entropy of its next token or of a whole sequence, in nats. 0 is certain.",
    "distinct answers": "How many of a held-out problem's sampled answers differ, mean over the problems.",
    "group": "The answers that were drawn for one prompt. Group-relative methods compare them with each other.",
    "advantage": "How much better than expected a token's answer did, as the method reckons it: above 0 it is made likelier, below 0 rarer.",
    "ratio": "The trained policy's probability of what was sampled, divided by that of the policy that sampled it. 1 is no change.",
    "KL": "How far the trained policy's next token is from that of the policy before training, KL divergence in nats. 0 is no change.",
    "log-probability": "The natural logarithm of the probability with which the policy drew the token.",
    "mask": "1 where the policy chose the token; nothing is learned from the others, which are greyed and dotted.",
    "problem": "The number of a training problem. The answers below it are its group: all were drawn for the same prompt.",
    "no score": "There is no reward: the verifier, or a reply of the task, ran out of time, failed, or could not be read. Such answers are not learned from.",
    # the run's own settings
    "budget": "What the run may use, and in which unit: steps, samples, tokens or seconds, a seed.",
    "every": "Steps (or units of the budget) between two evaluations.",
    "episodes": "Episodes or problems of an evaluation; null is the task's own number.",
    "resume": "bitwise: a stopped run goes on to the same bits. episode-boundary: environments start new episodes. "
    "other-draws: a part draws from a global generator, whose state is not kept, or an engine draws that does not give the same bits twice.",
    "fingerprint": "What identifies the task: another environment or file of the same name is refused on resume.",
    "keep": "How many checkpoints stay on disk.",
    "track": "Where metrics are sent beside the run's own logs.",
    "options": "Settings of the task, as they were given.",
}
"""A name as tables and figures have it, and what it means."""


METRICS = {
    "": {
        "episode/return": "The return of the episodes that ended while training, with the actions as explored; evaluation takes the most likely ones.",
        "episode/length": "Steps of the episodes that ended while training.",
        "episode/success": "The share of the episodes that ended while training of which the environment said that they succeeded (info['is_success']); "
        "the others have not.",
        "gradient_norm": "The length of the gradient before it is clipped, mean over the iteration's updates.",
        "ratio/q01": "The ratio that 1 % of the tokens lie below, at the iteration's last update.",
        "ratio/q50": "The median ratio of the tokens at the iteration's last update.",
        "ratio/q99": "The ratio that 1 % of the tokens lie above, at the iteration's last update.",
        "ess": "Effective sample size: the share of the tokens that the ratios leave in effect, (Σ ratio)² / (n Σ ratio²). 1 is all; low means that few "
        "decide.",
        "updates": "Optimiser steps that a seed made on an iteration's rollout before its KL passed the target.",
        "kl_behaviour": "KL divergence from the policy that sampled (with --truncate-importance from the policy before the update) to the one at the "
        "iteration's last update, nats a step or token: how far updates went.",
        "kl_sampler": "KL divergence from what the sampler computed to what the training pass does before the first update, nats a token: bfloat16's rounding.",
        "clip_fraction": "The share of steps or tokens whose gradient the clip took away or bounded, at the iteration's last update.",
        "loss_entropy": "The policy's entropy in the loss, nats, mean over the last minibatch.",
        "staleness": "How many updates the weights that acted were behind those that learned from it, mean over the rows.",
        "staleness/most": "The same of the oldest row.",
        "importance_weight": "The truncated ratio of the policy before the update to what acted (older weights, another engine), mean: 1 less what is cut.",
        "importance/cut": "The share of steps or tokens whose ratio was truncated.",
        "importance/kl": "KL divergence from what acted to the policy before the update, nats a step or token.",
        "importance/ess": "Effective sample size by these ratios as they are, not cut: the share of the steps or tokens that they leave in effect.",
        "importance/most": "The largest of these ratios.",
        "kl_engine": "KL divergence from what the generation engine drew with to what the policy gives the same tokens, nats a token: the weights are the same,"
        " and rounding is not.",
        "log_ratio_engine": "The largest log ratio between those two, of all tokens of the iteration.",
        "reference_reset": "1 where the reference policy was set to the trained one.",
        "fill/rounds": "How many rounds of sampling it took to fill a batch.",
        "fill/groups": "Groups that were accepted for the batch.",
    },
    "pass@1": {
        "reward": "The reward of the answers sampled for training that could be scored, mean over the batch. It is what training raises; "
        "the score is measured on held-out problems.",
        "length": "Tokens of an answer sampled for training that could be scored, mean.",
        "length/right": "Tokens of the answers with a reward above 0.5, mean.",
        "length/wrong": "Tokens of the answers with a reward of at most 0.5, mean.",
        "ended": "The share of answers, of those that could be scored, that ended by themselves; the others were cut at the limit.",
        "entropy": "How undecided the policy is: the entropy of its next token or of a whole sequence, in nats. 0 is certain.",
        "groups_alike": "The share of groups whose answers all have the same reward: group-relative methods learn nothing from them.",
        "score/timeout": "The share of answers whose verifier, or a reply to which, ran out of time. They have no reward and are not learned from.",
        "score/crashed": "The share of answers whose verifier, or a reply to which, failed. They have no reward and are not learned from.",
        "score/malformed": "The share of answers whose verifier, or a reply to which, gave what is none. They have no reward and are not learned from.",
        "samples": "Answers that the seed drew up to there.",
        "tokens": "Tokens of the answers that the seed drew up to there.",
    },
    "value": {
        "change": "The largest change of the value of any state in an iteration of planning.",
        "regret": "What a seed has lost so far by playing as it did and not optimally, in sum over its episodes: computed from the problem.",
    },
    "exploitability": {"exploitability": "What a player of a game gains on average by a best response in the place of the policy."},
    "QD score": {
        "entered": "How many of an iteration's members entered the archive.",
        "QD_score": "The QD score of the archive.",
        "coverage": "The share of the archive's cells that are filled.",
    },
    "reward": {"reward": "The reward of the samples drawn for training, mean over the batch."},
}
"""What runs log of their training, by what their evaluations measure (the score, or what stands beside it): a name that a run of another kind logs is its
method's own. Under "" what loops log whatever they are evaluated by."""


def explain(name: str, measured: Collection[str] | None = None) -> str:
    """What a name means; of a figure that a method made itself, where to look.

    Args:
        measured: of a training metric, what evaluations of its run measure ("pass@1"); None for names of scores, tables and figures.
    """
    if measured is not None:
        found = next((METRICS[of][name] for of in (*measured, "") if name in METRICS.get(of, ())), None)
        if found is not None:
            return found
        if name.startswith("loss/"):
            return f"The loss of the method's part {name.removeprefix('loss/')}, weighted as it is trained, mean over the iteration's updates."
        return OWN
    if name in TERMS:
        return TERMS[name]
    if name.startswith("range of "):
        return "The scores of these seeds are all the same, which says nothing of how far others would lie apart: it is no 95 % interval."
    return TERMS["pass@k"] if name.startswith("pass@") else OWN


OWN = "A figure of the method itself: `operant show METHOD` describes it."


class Glossary:
    """The names that one page shows, each explained once at its end; one that means two things, once for each."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], None] = {}

    def link(self, name: str, text: str | None = None, measured: Collection[str] | None = None) -> str:
        """HTML of a name (shown as `text`) that says on hover what it means, and leads to its entry for a keyboard or a finger.

        Args:
            measured: as of `explain`.
        """
        entry = (name, explain(name, measured))
        self._shown.setdefault(entry)
        return f'<a class=term href="#term-{list(self._shown).index(entry)}" title="{escape(entry[1])}">{escape(text or name)}</a>'

    def section(self) -> str:
        """The glossary of what was linked, by name."""
        entries = "".join(
            f'<div id="term-{number}"><dt>{escape(name)}</dt><dd>{escape(meaning)}</dd></div>'
            for number, (name, meaning) in sorted(enumerate(self._shown), key=lambda entry: entry[1][0].lower())
        )
        return f"<section id=glossary><h2>What the names mean</h2><dl>{entries}</dl></section>"
