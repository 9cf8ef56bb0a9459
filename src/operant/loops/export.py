"""A trained policy as a file that other programs run: an ONNX model, or a program of `torch.export`. Neither needs Operant."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.core.errors import BadInput, one_line
from operant.core.files import check_target, disk_fault, replacing

if TYPE_CHECKING:
    import torch

    from operant.nets.graph import Graph

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""The formats, and how their files end."""


def check_format(name: str) -> None:
    """Raise `BadInput` where there is no such format, or what writes it is not installed."""
    if name not in SUFFIXES:
        raise BadInput(f"format {name!r}: {' or '.join(SUFFIXES)}")
    if name == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise BadInput(f"--format onnx needs {error.name}: pip install 'operant[export]'; --format torch needs nothing") from error


def write_policy(path: Path, graph: Graph, name: str, about: dict[str, Any]) -> dict[str, Any]:
    """Write a policy, the file being there whole or not at all; what goes in and comes out of it, as the file's metadata say too.

    Args:
        name: of a format.
        about: further metadata.

    Raises:
        BadInput: a policy that is no graph, or a path that cannot be written.
    """
    check_target(path)
    about |= {kind: [{"name": port.name, "shape": ["N", *port.shape], "dtype": port.dtype} for port in ports] for kind, ports in _ports(graph)}
    content = {"onnx": _onnx, "torch": _program}[name](graph, about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {disk_fault(error) or error.strerror}") from error
    return about


def _ports(graph: Graph) -> tuple[tuple[str, list], tuple[str, list]]:
    return ("inputs", graph.inputs), ("outputs", graph.outputs)


def traced(graph: Graph) -> torch.export.ExportedProgram:
    """A graph as a program for any number of rows. Raises `BadInput` where it cannot be traced."""
    import torch

    examples = tuple(port.example(2) for port in graph.inputs)
    rows = torch.export.Dim("rows")
    with torch.no_grad():
        try:
            return torch.export.export(graph.eval(), examples, dynamic_shapes={"given": tuple({0: rows} for _ in examples)}, strict=False)
        except Exception as error:  # whatever tracing finds in a module of somebody's own
            raise BadInput(f"this policy cannot be written as a graph of tensors: {type(error).__name__}: {one_line(error)}") from error


def _program(graph: Graph, about: dict[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.export.save(traced(graph), buffer, extra_files={"operant.json": json.dumps(about)})
    return buffer.getvalue()


def _onnx(graph: Graph, about: dict[str, Any]) -> bytes:
    import torch

    names = {f"{kind[:-1]}_names": [port.name for port in ports] for kind, ports in _ports(graph)}
    program = traced(graph)
    logging.disable(logging.WARNING)  # of operators of packages that are not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = {"given": tuple({0: "N"} for _ in graph.inputs)}
            made = torch.onnx.export(program, dynamo=True, verbose=False, dynamic_shapes=axes, **names)
    finally:
        logging.disable(logging.NOTSET)
    made.model.metadata_props["operant"] = json.dumps(about)
    return made.model_proto.SerializeToString()
