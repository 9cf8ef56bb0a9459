"""A value-learning method tried on made-up transitions before a run exists, in a learner of its own: a mistake in a loss is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from operant.core.errors import BadInput, place_of
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.worlds.store import Transitions

if TYPE_CHECKING:
    from operant.loops.draw import Drawer
    from operant.loops.value_learning import Phase, ValueLearner

SEEDS = (0, 1)  # two, so that an axis of seeds that is lined up with another shows
ROUNDING = 1e-4  # relative, of a loss whose seed is computed beside another one


def try_losses(learner: ValueLearner) -> None:
    """Act once, and take one step of every phase.

    Args:
        learner: of two seeds, with an empty store "replay"; nobody uses it again.

    Raises:
        BadInput: a loss of another shape, or one whose seeds depend on each other; whatever the method's own parts raise comes through.
    """
    store, size = learner.stores["replay"], learner.method.draw.size
    store.append(made_up(learner, 2 * size))
    seen = store.gather(torch.zeros(len(SEEDS), 1, dtype=torch.int64, device=store.rows.device)).observation
    with torch.no_grad():
        learner.act(seen)
    for phase, drawer in learner.at_work():
        batch = drawer.draw()
        _check_apart(learner, phase, batch, drawer)
    learner.train_once()


def made_up(learner: ValueLearner, count: int) -> dict[str, Tensor]:
    """Transitions `[S, count, …]` of every column: each fourth ends an episode."""
    observation, distribution = learner.policy.observation, learner.policy.distribution
    streams, shape = Streams(SEEDS, learner.streams.device), (len(SEEDS), count)
    ends = (torch.arange(count, device=streams.device) % 4 == 3).expand(shape)
    return {
        "observation": rows(observation, streams, "observation", count),
        "action": distribution.uniform(streams, "action", count),
        "reward": streams.normal("reward", count),
        "next_observation": rows(observation, streams, "next_observation", count),
        "terminated": ends,
        "truncated": torch.zeros_like(ends),
    }


def rows(spec: Spec, streams: Streams, name: str, count: int) -> Tensor:
    """Observations `[S, count, D]` within their bounds, under which everything is allowed."""
    return torch.cat([_of_field(field, streams, f"{name}/{field.name}", count) for field in spec.fields], -1)


def _of_field(field: Field, streams: Streams, name: str, count: int) -> Tensor:
    if field.role == "action_mask":
        return torch.ones(len(streams.seeds), count, field.size, device=streams.device)
    if field.kind in ("discrete", "multi-discrete"):
        chosen = [torch.nn.functional.one_hot(streams.integers(f"{name}/{place}", many, count), many) for place, many in enumerate(field.counts)]
        return torch.cat(chosen, -1).float()
    if field.kind == "multi-binary":
        return streams.integers(name, 2, count, field.size).float()
    low, high = (torch.from_numpy(bound.astype("float64")).float().to(streams.device) for bound in field.bounds())
    drawn = streams.normal(name, count, field.size)
    return ((255 * drawn.abs()).floor() if field.bytes else drawn).clamp(low, high)


def _check_apart(learner: ValueLearner, phase: Phase, batch: Transitions, drawer: Drawer) -> None:
    """Raise `BadInput` where the first seed's losses hang on the second one's transitions. A loss that gives other numbers to the same batch is not judged."""
    other = {name: _moved(x) for name, x in batch.tensors().items() if name != "index"}
    extras = {name: other.pop(name) for name in batch.extras}
    moved = replace(batch, **other | {"reward": other["reward"] + torch.tensor([[0.0], [1.0]], device=batch.reward.device)}, extras=extras)
    before = learner.streams.state_dict()
    found: list[Mapping[str, Tensor]] = []
    for given in (batch, batch, moved):
        learner.streams.load_state_dict(before)
        found.append({name: loss.detach()[0] for name, loss in learner.losses(phase, learner.seen(given, drawer)).items()})
    first, again, beside = found
    for name, loss in first.items():
        if torch.equal(loss, again[name]) and not torch.allclose(loss, beside[name], rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
            raise BadInput(
                f"loss {name!r} of one seed hangs on the transitions of another: an axis of seeds is lined up with another one, as in q [S, E, B] - y [S, B], "
                f"which is y.unsqueeze(1){place_of(phase.losses)}"
            )


def _moved(x: Tensor) -> Tensor:
    """The same of the first seed, and the second one's transitions in another order."""
    return torch.stack([x[0], x[1].roll(1, 0)])
