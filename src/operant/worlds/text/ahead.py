"""Answers that are drawn and scored while others are learned from."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor

from operant.core.records import Rollout
from operant.nets.language import TokenPolicy
from operant.worlds.base import Source
from operant.worlds.text.source import TextSource
from operant.worlds.text.workers import Versions


class Ahead(Source):
    """Rollouts of a source that are drawn and scored ahead, one after the other, by the policy as it was when each was begun.

    Which weights draw a rollout hangs on its number and not on a clock. A thread of its own draws and scores; what is asked of the source besides
    changes nothing there.

    Args:
        staleness: rollouts under way besides the one that is learned from, at least 1.
    """

    describes = True

    def __init__(self, source: TextSource, staleness: int):
        self._source, self._staleness = source, staleness
        self._versions: Versions | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sampling")
        self._under_way: deque[Future[tuple[Rollout, dict[str, Any]]]] = deque()
        self._report: dict[str, Any] = {}  # as of the newest rollout that was handed over
        self._waiting: list[Rollout] = []  # of a run that goes on: drawn, and not learned from

    @property
    def resume(self) -> str:
        return self._source.resume

    def sample(self, policy: TokenPolicy, version: int) -> Rollout:
        """The oldest rollout that is under way, scored."""
        if self._versions is None:
            self._versions = self._source.versions = Versions(policy, self._staleness + 1, shared=self._source.workers is not None)
        while len(self._waiting) + len(self._under_way) <= self._staleness:
            twin = self._versions.twins[self._versions.hold(policy)]
            self._under_way.append(self._thread.submit(self._round, twin, version, self.progress))
        if not self._waiting:
            rollout, self._report = self._under_way.popleft().result()
            return rollout
        rollout = self._waiting.pop(0)
        return rollout.with_tensors({name: tensor.to(policy.device) for name, tensor in rollout.tensors().items()})

    def _round(self, policy: TokenPolicy, version: int, progress: float) -> tuple[Rollout, dict[str, Any]]:
        self._source.progress = progress
        return self._source.score(self._source.sample(policy, version)), self._source.report()

    def settle(self) -> None:
        for future in self._under_way:
            future.result()

    def measure(self, names: Collection[str], rollout: Rollout, policy: TokenPolicy) -> dict[str, Tensor]:
        return self._source.measure(names, rollout, policy)

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        return self._source.metrics(rollout)

    def notes(self) -> list[str]:
        return self._source.notes()

    def report(self) -> dict[str, Any]:
        return self._report

    def describe(self, rollout: Rollout, rows: Sequence[int]) -> list[dict]:
        return self._source.describe(rollout, rows)

    def state_dict(self) -> dict[str, Any]:
        self.settle()
        waiting = [*self._waiting, *(future.result()[0] for future in self._under_way)]
        return self._source.state_dict() | {"waiting": [{"version": rollout.version, "tensors": rollout.tensors()} for rollout in waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._waiting = [Rollout.of(kept["tensors"], kept["version"]) for kept in state.get("waiting", [])]
        self._source.load_state_dict({name: value for name, value in state.items() if name != "waiting"})

    def close(self) -> None:
        self._source.close()  # which ends those that draw, and so what is under way
        self._thread.shutdown(wait=False, cancel_futures=True)
