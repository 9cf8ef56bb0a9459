"""What the parts of a policy-gradient method ask of the loop.

A part is any callable among shape, accept, select, credit, focus and terms. It may carry

- `needs`, a set of names. For a part that sees a rollout the loop puts them into `rollout.extras` first: "value" (and "next_value"), "reference_log_prob",
  "reference_velocity", "teacher_log_prob", "old_log_prob" (of the policy that acted, by the same passes as the reference's), "entropy" `[S, N, T]`; what else
  the world can measure, `[S, N]`: "answer", "sound", "clean_score", "answer_probability", "answer_probability_alone". For a term they stand in its batch (see
  `loops.terms`).
- `statistics`, functions of next-token logits `[R, V]` and tokens `[R]` by name, measured of the policy that acted and put into `rollout.extras`; a term's are
  measured at every update, with gradients. A term's `old_statistics` are those of the policy that acted.
- `state_dict` and `load_state_dict`, where it keeps something between iterations.

A term may carry `over`, `clipped` and `tells` besides (see `loops.terms`). Parts are any callables, plain functions too, so that these are looked for, here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

REPLAYED = ("entropy", "value", "logits", "reward", "velocity", "kl_to_acted", "kl_from_acted")  # what `policy.replay` gives when asked
FROM_ACTED = frozenset({"kl_to_acted", "kl_from_acted"})  # of these, what it compares with the distribution that was acted from


def needs_of(parts: Iterable[Any]) -> frozenset[str]:
    """The union of what parts need."""
    return frozenset().union(*(getattr(part, "needs", frozenset()) for part in parts))


def statistics_of(parts: Iterable[Any], name: str = "statistics") -> dict[str, Any]:
    """The union of parts' statistics. A name that two parts use must mean the same function."""
    found: dict[str, Any] = {}
    for part in parts:
        for key, statistic in getattr(part, name, {}).items():
            if found.setdefault(key, statistic) is not statistic and found[key] != statistic and repr(found[key]) != repr(statistic):
                raise ValueError(f"two parts of this method measure {key!r} by different functions: give one of them another name")
    return found


def over_of(term: Any) -> str | None:
    """The mask that a term is weighted by in the place of the policy's own steps, by the name of its field."""
    return getattr(term, "over", None)


def told_by(terms: Iterable[Any], name: str) -> list[Callable[..., Any]]:
    """What terms tell of an update by a method of this name ("clipped", "tells"), those that have it."""
    return [getattr(term, name) for term in terms if hasattr(term, name)]


def part_name(part: Any) -> str:
    """How logs and errors call a part."""
    return getattr(part, "name", None) or getattr(part, "__name__", type(part).__name__)


class Stateful:
    """The parts that keep something between iterations, in one state."""

    def __init__(self, parts: dict[str, Any]):
        self._parts = {name: part for name, part in parts.items() if hasattr(part, "load_state_dict")}

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
