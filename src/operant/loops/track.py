"""Extra trackers of a run's numbers: TensorBoard and Weights & Biases, behind one call. `metrics.jsonl` is written always."""

from __future__ import annotations

from typing import Any, Protocol

from operant.core.errors import BadInput, unknown


class Tracker(Protocol):
    def log(self, rows: list[dict[str, Any]]) -> None:
        """Take rows of `{"step", "seed", NAME: number, …}`."""

    def close(self) -> None: ...


class TensorBoard:
    """Scalars `NAME/seed-S` under the given directory."""

    def __init__(self, directory: str = "runs/tensorboard"):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BadInput("--track tensorboard needs its package: pip install 'operant[track]'") from error
        self._writer = SummaryWriter(directory)

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for name, value in row.items():
                if name not in ("step", "seed"):
                    self._writer.add_scalar(f"{name}/seed-{row['seed']}", value, row["step"])

    def close(self) -> None:
        self._writer.close()


class WandB:
    """One W&B run; each seed's numbers are `seed-S/NAME`. Project and mode come from W&B's own environment variables."""

    def __init__(self):
        try:
            import wandb
        except ImportError as error:
            raise BadInput("--track wandb needs its package: pip install 'operant[track]'") from error
        self._run = wandb.init()

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._run.log({f"seed-{row['seed']}/{name}": value for name, value in row.items() if name not in ("step", "seed")} | {"step": row["step"]})

    def close(self) -> None:
        self._run.finish()


TRACKERS = {"tensorboard": TensorBoard, "wandb": WandB}


def make_trackers(names: tuple[str, ...]) -> list[Tracker]:
    """Trackers by name. Raises `BadInput` for an unknown one, or one whose package is missing."""
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
    return [TRACKERS[name]() for name in names]
