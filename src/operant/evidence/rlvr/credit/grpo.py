"""GRPO: raises pass@1 on held-out problems of a language model that was partly able before."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.runs import train


@check(
    "grpo",
    "pass@1",
    "small",
    "text:arithmetic: after 100 iterations of 16 prompts x 16 answers, pass@1 on held-out problems is at least 0.2 above the base policy's: "
    "the lower end of the 95 % interval over 5 seeds; pass@k is reported beside it",
)
def accuracy(folder: Path) -> Finding:
    result = train("grpo", "text:arithmetic", seeds=5, steps=100, every=100, progress=False, out=folder / "grpo").result
    gain = result["score"]["low"] - result["base"]["iqm"]
    figures = {"score": result["score"], "base": result["base"], "pass_at_k": result["pass_at_k"], "gain_low": gain, "threshold": 0.2}
    return Finding(gain >= 0.2, figures, seeds=5)
