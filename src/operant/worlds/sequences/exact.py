"""The truth of a sequence problem, by summing over every sequence.

`value` stands for a tensor `[S, P]`, one number a seed and prompt; the objective of a seed is its mean over prompts. Everything is differentiable in the
policy's parameters. Gradients are dictionaries from parameter name to a tensor of the parameter's shape. With a float64 policy the figures are exact to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.worlds.sequences.problems import Policy, SequenceProblem

MAX_GROUPS = 2**20
_BATCHES = 20  # Monte Carlo batches whose spread gives the standard error
_CHUNK = 2**21  # most steps that an estimator is given at once

Estimator = Callable[[Rollout, dict[str, Tensor]], Tensor]


def replay_all(policy: Policy, problem: SequenceProblem, needs: Collection[str] = ()) -> dict[str, Tensor]:
    """`policy.replay` of every sequence under every prompt, in one call: `log_prob [S, P, M, L]` and what `needs` names."""
    prompts, count = problem.prompts, len(problem.sequences)
    device = next(parameter for _, parameter in policy.named_parameters()).device
    prompt = torch.arange(prompts, device=device).repeat_interleave(count).expand(policy.seeds, -1)
    action = problem.sequences.to(device).repeat(prompts, 1).expand(policy.seeds, -1, -1)
    return {name: value.unflatten(1, (prompts, count)) for name, value in policy.replay({"prompt": prompt}, action, needs).items()}


def sequence_log_probs(policy: Policy, problem: SequenceProblem) -> Tensor:
    """Log-probability of every sequence under every prompt, `[S, P, M]`."""
    return replay_all(policy, problem)["log_prob"].sum(-1)


def expected_reward(policy: Policy, problem: SequenceProblem) -> Tensor:
    """Mean reward of a sequence, `[S, P]`. For 0/1 rewards this is pass@1."""
    log_probs = sequence_log_probs(policy, problem)
    return (log_probs.exp() * problem.rewards.to(log_probs)).sum(-1)


def pass_at_k(policy: Policy, problem: SequenceProblem, k: int) -> Tensor:
    """Probability that at least one of k independent sequences is right, `[S, P]`.

    Raises:
        BadInput: k below 1, or rewards that are not all 0 or 1.
    """
    if k < 1:
        raise BadInput(f"pass@k: k is {k}, must be 1 or more; nearest: 1")
    if not problem.binary:
        raise BadInput("pass@k needs rewards that are 0 or 1; this sequence problem has others: use expected_reward")
    return at_least_one(expected_reward(policy, problem), k)


def at_least_one(rate: Tensor, k: int) -> Tensor:
    """Probability that one of k independent draws succeeds, 1 - (1 - rate)^k, each with probability `rate [...]`."""
    return 1 - (1 - rate) ** k


def entropy(policy: Policy, problem: SequenceProblem) -> Tensor:
    """Entropy of the sequence, nats, `[S, P]`."""
    log_probs = sequence_log_probs(policy, problem)
    return -(log_probs.exp() * log_probs).sum(-1)


def kl(policy: Policy, reference: Policy, problem: SequenceProblem) -> Tensor:
    """KL(policy || reference) between the distributions of whole sequences, nats, `[S, P]`. Exchange the arguments for the forward KL."""
    log_probs, reference_log_probs = sequence_log_probs(policy, problem), sequence_log_probs(reference, problem)
    return (log_probs.exp() * (log_probs - reference_log_probs)).sum(-1)


def kl_per_token(policy: Policy, reference: Policy, problem: SequenceProblem, *, through_prefixes: bool = True) -> Tensor:
    """Mean over prefixes of KL between the distributions of the next token, `[S, P, L]` nats, one a step; the sum over steps is `kl` (chain rule).

    Args:
        through_prefixes: False holds the distribution of prefixes fixed in the gradient, as an objective that puts a per-token KL in the loss does: its
            gradient leaves out that a token now changes the divergence later.
    """
    ours = replay_all(policy, problem, {"logits"})
    probability = ours["log_prob"].sum(-1, keepdim=True).exp() * problem.mask.to(ours["log_prob"])
    if not through_prefixes:
        probability = probability.detach()
    return (probability * ops.categorical_kl(ours["logits"], replay_all(reference, problem, {"logits"})["logits"])).sum(-2)


def gradient(value: Tensor, policy: Policy) -> dict[str, Tensor]:
    """Gradient of each seed's mean over prompts of a `value [S, P]`, by autograd."""
    names, parameters = zip(*policy.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value.mean(-1).sum(), parameters, materialize_grads=True), strict=True))


def exact_gradient(
    policy: Policy, problem: SequenceProblem, *, reference: Policy | None = None, kl_weight: float = 0.0, entropy_weight: float = 0.0
) -> dict[str, Tensor]:
    """Gradient of `expected reward - kl_weight * KL(policy || reference) + entropy_weight * entropy` (to be climbed).

    Raises:
        BadInput: a KL weight without a reference.
    """
    value = expected_reward(policy, problem) + entropy_weight * entropy(policy, problem)
    if kl_weight:
        if reference is None:
            raise BadInput(f"exact_gradient: kl_weight is {kl_weight}, which needs a reference policy")
        value = value - kl_weight * kl(policy, reference, problem)
    return gradient(value, policy)


@dataclass
class EstimatorGradient:
    """What an estimator's gradient is on average.

    Attributes:
        mean: by parameter name; of the loss, to be descended (an unbiased policy gradient is minus `exact_gradient`).
        standard_error: by parameter name; None where every group was enumerated.
        groups: how many groups a prompt were enumerated or drawn.
    """

    mean: dict[str, Tensor]
    standard_error: dict[str, Tensor] | None
    groups: int


def expected_estimator_gradient(
    policy: Policy,
    problem: SequenceProblem,
    estimator: Estimator,
    *,
    group_size: int = 1,
    needs: Collection[str] = (),
    reference: Policy | None = None,
    reduce: str = "sequence-sum",
    length: int | None = None,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> EstimatorGradient:
    """Expected gradient of an estimator whose batch is one group of sequences, drawn from the policy for one prompt; mean over prompts.

    All M^K groups are enumerated, each with its probability, when there are at most 2^20 of them and `samples` is not given.

    Args:
        estimator: `(rollout, outputs) -> [S, N, L]`, a loss a step, to be minimised. The rollout holds many groups side by side (`group_size` rows each) with
            rewards, and the policy's own log-probabilities as the behaviour's; `outputs` is what `policy.replay` gave for it, with gradients. Groups must not
            look at each other.
        group_size: K.
        needs: what the estimator reads from `outputs` beside `log_prob`.
        reference: puts "reference_log_prob" and "old_log_prob" into the rollout's extras.
        reduce: how the steps of a group become its loss, a kind of `ops.step_weights`. "sequence-sum" with `length` 1 (what None means there) is the plain
            policy gradient: the sum over steps, the mean over rows.
        length: the constant divisor of "sequence-sum".
        samples: groups to draw a prompt (rounded up to a multiple of 20) instead of enumerating.
        generator: the source of those draws.

    Raises:
        BadInput: too many groups to enumerate and no `samples`, or `samples` without a `generator`.
    """
    count = len(problem.sequences)
    if samples is None and count**group_size > MAX_GROUPS:
        raise BadInput(
            f"expected_estimator_gradient: {count} sequences make {count**group_size} groups of {group_size}, at most {MAX_GROUPS} are enumerated: give samples"
        )
    if samples is not None and (samples < 1 or generator is None):
        raise BadInput(f"expected_estimator_gradient: samples is {samples}, must be 1 or more and come with a generator")
    if reduce == "sequence-sum" and length is None:
        length = 1

    names, parameters = zip(*policy.named_parameters(), strict=True)
    outputs = replay_all(policy, problem, needs)
    extras = {}
    if reference is not None:
        with torch.no_grad():
            extras |= {"old_log_prob": outputs["log_prob"].detach(), "reference_log_prob": replay_all(reference, problem)["log_prob"]}
    probability = outputs["log_prob"].detach().sum(-1).exp()
    leaves = {name: value.detach().requires_grad_() for name, value in outputs.items()}
    scored = _scored(problem, leaves["log_prob"].detach(), extras)

    def add(members: Tensor, weight: Tensor) -> None:
        """Add the gradients at `leaves` of groups `[S, P, G, K]` that count `weight [S, P, G]`."""
        rollout = _rollout(scored, members)
        per_step = estimator(rollout, {name: _rows(leaf, members) for name, leaf in leaves.items()})
        if per_step.shape != rollout.shape:
            raise BadInput(f"expected_estimator_gradient: the estimator returned shape {tuple(per_step.shape)}, must be one loss a step {tuple(rollout.shape)}")
        steps = ops.step_weights(rollout.mask.reshape(-1, group_size, problem.length), reduce, length=length, dtype=weight.dtype)
        total = (steps.reshape(per_step.shape) * per_step).unflatten(1, (problem.prompts, -1, group_size)).sum((-1, -2))
        (total * weight).sum().div(problem.prompts).backward()

    def collect() -> dict[str, Tensor]:
        """The gradient at the parameters of what was added since the last call."""
        at = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves.values()]
        result = torch.autograd.grad(list(outputs.values()), parameters, at, retain_graph=True, materialize_grads=True)
        for leaf in leaves.values():
            leaf.grad = None
        return dict(zip(names, result, strict=True))

    seeds, prompts = probability.shape[:2]
    chunk = max(1, _CHUNK // (seeds * prompts * group_size * problem.length))
    if samples is None:
        for members in _groups(count, group_size, chunk, probability.device):
            members = members.expand(seeds, prompts, *members.shape)
            add(members, _gather(probability, members).prod(-1))
        return EstimatorGradient(collect(), None, count**group_size)

    batch = -(-samples // _BATCHES)
    gradients = []
    for _ in range(_BATCHES):
        drawn = torch.multinomial(probability.flatten(0, 1).cpu(), batch * group_size, replacement=True, generator=generator).to(probability.device)
        for members in drawn.view(seeds, prompts, batch, group_size).split(chunk, dim=2):
            add(members, torch.full(members.shape[:3], 1 / batch, dtype=probability.dtype, device=probability.device))
        gradients.append(collect())
    stacked = {name: torch.stack([g[name] for g in gradients]) for name in names}
    error = {name: value.std(0) / _BATCHES**0.5 for name, value in stacked.items()}
    return EstimatorGradient({name: value.mean(0) for name, value in stacked.items()}, error, batch * _BATCHES)


def _groups(count: int, size: int, chunk: int, device: torch.device) -> Iterator[Tensor]:
    """All groups of `size` out of `count` sequences, ordered and with repetition, `[G, size]` in chunks."""
    place = count ** torch.arange(size - 1, -1, -1, device=device)
    for start in range(0, count**size, chunk):
        number = torch.arange(start, min(start + chunk, count**size), device=device)
        yield number.unsqueeze(-1) // place % count


def _gather(value: Tensor, members: Tensor) -> Tensor:
    """`value [S, P, M, …]` at members `[S, P, G, K]`: `[S, P, G, K, …]`."""
    seeds, prompts, count = value.shape[:3]
    first = count * torch.arange(seeds * prompts, device=members.device).view(seeds, prompts, 1, 1)
    return value.flatten(0, 2).index_select(0, (first + members).flatten()).view(*members.shape, *value.shape[3:])


def _rows(value: Tensor, members: Tensor) -> Tensor:
    """`value [S, P, M, …]` at members `[S, P, G, K]`, as rows `[S, P * G * K, …]`."""
    return _gather(value, members).flatten(1, 3)


def _scored(problem: SequenceProblem, log_prob: Tensor, extras: dict[str, Tensor]) -> Rollout:
    """The scored record of every sequence of every prompt, once: rows `[S, P * M]` from `[S, P, M, L]`."""
    seeds, prompts, count = log_prob.shape[:3]
    prompt = torch.arange(prompts, device=log_prob.device).repeat_interleave(count).expand(seeds, -1)
    action = problem.sequences.to(log_prob.device).repeat(prompts, 1).expand(seeds, -1, -1)
    rollout = problem.score(problem.pack(prompt, action, log_prob.flatten(1, 2), 1, version=0))
    rollout.extras.update({name: value.flatten(1, 2) for name, value in extras.items()})
    return rollout


def _rollout(scored: Rollout, members: Tensor) -> Rollout:
    """The scored record of groups `[S, P, G, K]`, from that of every sequence."""
    seeds, prompts, groups, size = members.shape
    rollout = scored.with_tensors({name: _rows(value.unflatten(1, (prompts, -1)), members) for name, value in scored.tensors().items()})
    return replace(rollout, group=torch.arange(prompts * groups, device=members.device).repeat_interleave(size).expand(seeds, -1))
