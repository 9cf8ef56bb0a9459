"""SquareCB: the inequality that its proof rests on, and its regret with two oracles."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import SEEDS, at_random, interval, outcome, played, world

ROUNDS = 5_000


@check(
    "squarecb",
    "inequality",
    "exact",
    "Σ_a p(a) (f(b*) - f(a) - γ/4 (ŷ(a) - f(a))²) ≤ 2 A / γ (lemma 3) for p by inverse-gap weighting of ŷ, with 200,000 drawn ŷ, f, γ (1 to 10,000) and A = "
    "2, 5 and 20, half of the f as bad for ŷ as they can be; p sums to 1 within 1e-12 and has 1/A at least for the best action",
    theorem="inverse gaps: 2 A / γ per round (lemma 3)",
)
def inequality(folder: Path) -> Finding:
    generator, shares, off, short = torch.Generator().manual_seed(0), {}, 0.0, 0.0
    for actions in (2, 5, 20):
        value = torch.rand(200_000, actions, generator=generator, dtype=torch.float64)
        gamma = 10 ** (4 * torch.rand(200_000, 1, generator=generator, dtype=torch.float64))
        policy = ops.inverse_gap_weighting(value, gamma)
        off = max(off, (policy.sum(-1) - 1).abs().max().item())
        short = max(short, (1 / actions - policy.gather(-1, value.argmax(-1, keepdim=True))).max().item())
        truth = torch.rand(200_000, actions, generator=generator, dtype=torch.float64)
        star = torch.randint(actions, (100_000, 1), generator=generator)  # the worst f: each f(a) is ŷ(a) - 2/γ, and f(b*) is higher by 2 / (γ p(b*))
        worst = value[:100_000] - 2 / gamma[:100_000]
        worst = worst.scatter_add(-1, star, 2 / (gamma[:100_000] * policy[:100_000].gather(-1, star)))
        truth[:100_000] = worst
        best = torch.cat([worst.gather(-1, star), truth[100_000:].amax(-1, keepdim=True)])
        left = (policy * (best - truth - gamma / 4 * (value - truth).square())).sum(-1, keepdim=True)
        shares[f"{actions} actions"] = (left * gamma / (2 * actions)).max().item()
    figures = {"largest share of the bound": shares, "at most": 1, "off 1 by": off, "below 1/A by": short}
    return Finding(max(shares.values()) <= 1 and off <= 1e-12 and short <= 1e-12, figures)


@check(
    "squarecb",
    "table",
    "small",
    "tabular:bandit with 10 contexts and 5 actions, 10 instances, 5,000 rounds, an oracle of means: the regret exponent is below 0.75 with its 95 % "
    "interval, and regret in the mean below that of uniform play and of epsilon-greedy play (q-learning, epsilon 0.1)",
    theorem="regret √(A T) times the oracle's",
)
def table(folder: Path) -> Finding:
    bed = world("bandit")
    ours, greedy = outcome(played("squarecb", bed, ROUNDS)), outcome(played("q-learning", bed, ROUNDS, epsilon=0.1, halved=None))
    exponent, uniform = interval(ours["exponent"]), at_random(bed, ROUNDS)
    figures = {"exponent": exponent, "below": 0.75, "regret": interval(ours["regret"]), "of uniform play": interval(uniform)}
    figures |= {"of epsilon-greedy": interval(greedy["regret"]), "its exponent": interval(greedy["exponent"])}
    return Finding(exponent[2] < 0.75 and ours["regret"].mean() < min(uniform.mean(), greedy["regret"].mean()), figures, SEEDS)


@check(
    "squarecb",
    "linear",
    "small",
    "tabular:linear-bandit with 20 contexts and 10 actions (d = 5), 10 instances, 5,000 rounds: with an oracle on the features the regret exponent is below "
    "0.75 with its 95 % interval, and regret below that with means of the 200 pairs in 10 of 10",
)
def linear(folder: Path) -> Finding:
    bed = world("linear-bandit", states=20, actions=10)
    ours, theirs = (outcome(played("squarecb", bed, ROUNDS, oracle=oracle)) for oracle in ("linear", "table"))
    exponent, below = interval(ours["exponent"]), int((ours["regret"] < theirs["regret"]).sum())
    figures = {"exponent": exponent, "below 0.75": exponent[2] < 0.75, "regret": interval(ours["regret"]), "with means": interval(theirs["regret"])}
    return Finding(exponent[2] < 0.75 and below == SEEDS, figures | {"less in": below, "of": SEEDS}, SEEDS)
