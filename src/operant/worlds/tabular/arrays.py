"""Arrays of a person's files, as the tables of finite MDPs and games take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.worlds.tabular.mdp import place


def table_of(path: Path, name: str, array: np.ndarray, fits: bool, shape: str, kinds: str = "biuf") -> Tensor:
    """One array of a file as finite numbers in float64.

    Args:
        fits: it has the axes that it must have.
        shape: these, for messages.
        kinds: of NumPy's types that it may have.

    Raises:
        BadInput: it is something else.
    """
    if array.dtype.kind not in kinds:
        raise BadInput(f"{path}: {name} is {list(array.shape)} {array.dtype}, must be an array of numbers")
    if not fits:
        raise BadInput(f"{path}: {name} has shape {list(array.shape)}, must be {shape}")
    table = torch.from_numpy(array.astype(np.float64))
    if (wrong := ~table.isfinite()).any():
        raise BadInput(f"{path}: {name}{place(wrong.unsqueeze(0))} is {table[wrong][0].item()}, must be a finite number")
    return table
