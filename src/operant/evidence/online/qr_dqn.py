"""QR-DQN: solves CartPole, and is not behind DQN there."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.deep_q import BESIDE, SOLVES, beside_dqn, solves


@check("qr-dqn", "cartpole", "small", SOLVES)
def cartpole(folder: Path) -> Finding:
    return solves("qr-dqn", folder)


@check("qr-dqn", "beside-dqn", "small", BESIDE)
def beside(folder: Path) -> Finding:
    return beside_dqn("qr-dqn", folder)
