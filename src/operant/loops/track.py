"""Extra trackers of a run's numbers: TensorBoard and Weights & Biases, behind one call. `metrics.jsonl` is written always."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from operant.core.errors import BadInput, unknown


class Tracker(Protocol):
    def log(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of `{"step", "seed", NAME: number, …}`."""

    def close(self) -> None: ...


class TensorBoard:
    """Scalars `NAME/seed-S` in the run's own directory, under `tensorboard/`."""

    package = "tensorboard"

    def __init__(self, run: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(run / "tensorboard")

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "seed"):
                    self._writer.add_scalar(f"{name}/seed-{row['seed']}", value, row["step"])

    def close(self) -> None:
        self._writer.close()


class WandB:
    """One W&B run of the run's name; each seed's numbers are `seed-S/NAME`. Project and mode come from W&B's own environment variables."""

    package = "wandb"

    def __init__(self, run: Path):
        import wandb

        self._run = wandb.init(name=run.name, dir=str(run))

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._run.log({f"seed-{row['seed']}/{name}": value for name, value in row.items() if name not in ("step", "seed")} | {"step": row["step"]})

    def close(self) -> None:
        self._run.finish()


TRACKERS = {"tensorboard": TensorBoard, "wandb": WandB}


def check_trackers(names: Sequence[str]) -> None:
    """Raise `BadInput` for an unknown tracker, or one whose package is missing."""
    if not isinstance(names, list | tuple):
        raise BadInput(f"track {names!r}: it must be a list of names, as in track=[{next(iter(TRACKERS))!r}]")
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", str(name), TRACKERS)
        if find_spec(TRACKERS[name].package) is None:
            raise BadInput(f"--track {name} needs its package: pip install 'operant[track]'")


def make_trackers(names: Sequence[str], run: Path) -> list[Tracker]:
    """Trackers by name, for a run directory that exists."""
    check_trackers(names)
    return [TRACKERS[name](run) for name in names]
