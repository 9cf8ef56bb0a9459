"""Run directories written as docs/architecture.md describes them, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeRun = Callable[..., Path]


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_gif(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    frames = []
    for position in range(6):
        pixels = np.full((60, 90, 3), 235, dtype=np.uint8)
        pixels[30:40, 10 * position : 10 * position + 25] = (0, 114, 178)
        frames.append(Image.fromarray(pixels))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a finished run of control (`maker`)."""
    return maker(tmp_path)


@pytest.fixture
def make_text_run(make_run: MakeRun) -> MakeRun:
    """Makes a finished run of language (`text_maker`)."""
    return text_maker(make_run)


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> tuple[MakeRun, MakeRun]:
    """Both, for what the tests of a module share."""
    make = maker(tmp_path_factory.mktemp("runs"))
    return make, text_maker(make)


def maker(folder: Path) -> MakeRun:
    """Finished runs of control: `final` holds one score a seed, reached along a straight line from zero over five evaluations."""

    def make(
        name: str,
        *,
        method: str = "ppo",
        task: str = "gym:CartPole-v1",
        final: tuple[float, ...] = (480.0, 500.0, 490.0),
        seed: int = 0,
        steps: int = 1000,
        score: str = "return",
        hyperparameters: dict | None = None,
        finished: bool = True,
        video: bool = False,
    ) -> Path:
        path = folder / name
        path.mkdir()
        (path / "run.json").write_text(
            json.dumps(
                {
                    "method": method,
                    "task": task,
                    "seeds": len(final),
                    "seed": seed,
                    "steps": steps,
                    "hyperparameters": hyperparameters or {"learning_rate": 3e-4, "clip": {"low": 0.2, "high": 0.2}},
                    "device": "cpu",
                    "threads": 1,
                    "versions": {"operant": "0.1.0", "torch": "2.13.0"},
                    "hardware": {"processor": "test <cpu>", "cores": 2},
                    "resume": "bitwise",
                }
            )
        )
        points = [steps * i // 5 for i in range(6)]
        write_lines(
            path / "evaluations.jsonl",
            [
                {"step": step, "seed": seed + i, "score": score, "value": value * step / steps, "values": [value * step / steps], "base": step == 0}
                for step in points
                for i, value in enumerate(final)
            ],
        )
        rng = np.random.default_rng(seed)
        write_lines(
            path / "metrics.jsonl",
            [
                {"step": step, "seed": seed + i, "seconds": step / 100, "loss": float(1 / (1 + step) + rng.normal() * 0.01), "entropy": 0.7 - 0.0003 * step}
                for step in points
                for i in range(len(final))
            ],
        )
        if finished:
            (path / "result.json").write_text(
                json.dumps(
                    {
                        "run": name,
                        "method": method,
                        "task": task,
                        "seeds": len(final),
                        "steps": steps,
                        "score": {"name": score, "iqm": 0.0, "low": None, "high": None, "per_seed": list(final)},
                        "seconds": 10.0,
                        "steps_per_second": steps * len(final) / 10.0,
                    }
                )
            )
        if video:
            write_gif(path / "videos" / f"seed-{seed}.gif")
        return path

    return make


def text_maker(make_run: MakeRun) -> MakeRun:
    """Finished runs of language: three groups of four completions at two steps, pass@k before and after."""

    def make(name: str, *, final: tuple[float, ...] = (0.7, 0.8, 0.75), **changes) -> Path:
        path = make_run(name, **{"method": "grpo", "task": "text:arithmetic", "final": final, "score": "pass@1", "steps": 100} | changes)
        rows = [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]
        for row in rows:
            base = row["base"]
            row["value"] = 0.3 if base else row["value"]
            row["pass_at_k"] = {"1": row["value"], "4": 0.6 if base else min(1.0, row["value"] + 0.1), "16": 0.9 if base else min(1.0, row["value"] + 0.15)}
        write_lines(path / "evaluations.jsonl", rows)
        rng = np.random.default_rng(1)
        completions = []
        for step in (50, 100):
            for group in range(3):
                for member in range(4):
                    right = member < group + 1
                    words = ["3", "+", "4", "=", "7", "\n", "<b>", "7" if right else "8", "</s>"]
                    tokens = [
                        {
                            "text": word,
                            "log_prob": -0.125 * (i + 1),
                            "advantage": (1.0 if right else -1.0) * (0.5 + 0.1 * i),
                            "entropy": float(rng.uniform(0, 1.5)),
                            "ratio": 2.0 ** (i - 3),
                            "kl": 0.01 * i,
                            "mask": i < 8,
                        }
                        for i, word in enumerate(words)
                    ]
                    completions.append(
                        {
                            "step": step,
                            "seed": 0,
                            "group": group,
                            "prompt": f"{group} + 4 <script>alert(1)</script> = ",
                            "reward": float(right),
                            "status": "ok",
                            "tokens": tokens,
                        }
                    )
        completions[3] |= {"reward": None, "status": "timeout"}
        write_lines(path / "completions.jsonl", completions)
        return path

    return make
