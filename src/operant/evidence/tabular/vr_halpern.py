"""VR-Halpern: within its bound, at the cost of √n evaluations a step."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from operant import studies
from operant.evidence import Finding, check
from operant.studies.vr_halpern import LeastSquares, solved

BED = "least squares in 20 dimensions"


@check(
    "vr-halpern",
    "bound",
    "exact",
    f"the residual is at most 16 L |u_0 - u*| / (k + 4) in each of 3,000 iterations, whole and variance-reduced ({BED}, 400 components, three seeds)",
    theorem="Halpern iteration with recursive estimates has a residual of 16 L |u_0 - u*| / (k + 4)",
)
def bound(folder: Path) -> Finding:
    shares = {
        kind: [solved(LeastSquares.drawn(400, 20, seed), kind, 0.0, most=3_000, seed=seed)["largest_share_of_bound"] for seed in range(3)]
        for kind in ("reduced", "whole")
    }
    return Finding(max(max(each) for each in shares.values()) <= 1, {"largest_share_of_bound": shares, "at_most": 1}, 3)


@check(
    "vr-halpern",
    "reduced",
    "small",
    f"evaluations until the residual is 4e-4 L |u_0 - u*| grow with n (100 to 10,000) with an exponent in [0.35, 0.65] ({BED}, three seeds)",
    theorem="a zero of a mean of n operators costs √n evaluations a step",
)
def reduced(folder: Path) -> Finding:
    found = conducted()
    return Finding(0.35 <= found["exponents"]["reduced"] <= 0.65, found | {"between": [0.35, 0.65]}, 3)


@check("vr-halpern", "whole", "small", f"of deterministic Halpern iteration they grow with an exponent in [0.95, 1.05] ({BED}, three seeds)")
def whole(folder: Path) -> Finding:
    found = conducted()
    return Finding(0.95 <= found["exponents"]["whole"] <= 1.05, found | {"between": [0.95, 1.05]}, 3)


@cache
def conducted() -> dict[str, Any]:
    entry = studies.get_study("vr-halpern")
    return entry.conduct(entry.options(), Path(), lambda line: None).figures
