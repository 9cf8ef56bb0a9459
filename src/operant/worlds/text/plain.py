"""Plain data as bytes between a judge and the answer that it runs: numbers, text, containers and the standard library's value types, never code.

A frame is a length of four bytes and JSON. What is read is built from plain types alone, whoever wrote it, so that comparing it calls nothing of the writer's.
The standard library alone is imported.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # containers within containers
LARGEST = 2**22  # bytes of a frame


class NotPlain(TypeError):
    """A value that has no plain form."""


class Broken(Exception):
    """The other side ended, or what it sent is not a frame."""


def encode(value: Any, other: Callable[[Any], list], depth: int = 0) -> Any:
    """The JSON value that stands for `value`; subclasses count as what they derive from. `other` gives the form of what is not plain, or raises `NotPlain`."""
    if depth > DEEPEST:
        raise NotPlain(f"containers more than {DEEPEST} deep")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if abs(whole) < 2**53 else ["i", hex(whole)]  # decimal digits are limited, hexadecimal ones are not
    if isinstance(value, float):
        return float.__float__(value)
    for mark, kind in _SEQUENCES:
        if isinstance(value, kind):
            return [mark, *(encode(item, other, depth + 1) for item in kind.__iter__(value))]
    if isinstance(value, dict):
        return ["d", *(encode(part, other, depth + 1) for pair in dict.items(value) for part in pair)]
    if isinstance(value, bytes | bytearray):
        return ["b" if isinstance(value, bytes) else "a", bytes(value).hex()]
    for mark, (kind, write, _) in _VALUES.items():
        if type(value) is kind:
            return [mark, *write(value)]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.generic):
            return encode(value.item(), other, depth + 1)
        if isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
            return ["n", str(value.dtype), encode(value.tolist(), other, depth + 1)]
    return other(value)


def decode(form: Any, other: Callable[[list], Any], depth: int = 0) -> Any:
    """The value that a form stands for; `other` reads the forms that `encode`'s `other` made. Raises `Broken` for what is no form."""
    if not isinstance(form, list):
        return form
    if depth > DEEPEST or not form or not isinstance(form[0], str):
        raise Broken("no such form")
    mark, *parts = form
    try:
        if mark in _BUILD:
            return _BUILD[mark](decode(part, other, depth + 1) for part in parts)
        if mark == "d":
            items = [decode(part, other, depth + 1) for part in parts]
            return dict(zip(items[::2], items[1::2], strict=True))
        if mark == "i":
            (text,) = parts
            return int(text, 16)
        if mark in ("b", "a"):
            (text,) = parts
            return (bytes if mark == "b" else bytearray).fromhex(text)
        if mark in _VALUES:
            return _VALUES[mark][2](*parts)
        if mark == "n":
            import numpy

            dtype, items = parts
            if numpy.dtype(dtype).kind not in "biuf":
                raise Broken("no such array")
            return numpy.array(decode(items, other, depth + 1), dtype=dtype)
    except (ValueError, TypeError, ArithmeticError, ImportError) as error:
        raise Broken(f"no such form: {type(error).__name__}") from None
    return other(form)


_SEQUENCES = (("l", list), ("t", tuple), ("s", set), ("f", frozenset), ("q", collections.deque))
_BUILD: dict[str, Callable] = dict(_SEQUENCES)
_VALUES: dict[str, tuple[type, Callable, Callable]] = {
    "c": (complex, lambda v: (v.real, v.imag), complex),
    "r": (range, lambda v: (v.start, v.stop, v.step), range),
    "F": (fractions.Fraction, lambda v: (v.numerator, v.denominator), fractions.Fraction),
    "D": (decimal.Decimal, lambda v: (str(v),), decimal.Decimal),
    "td": (datetime.timedelta, lambda v: (v.days, v.seconds, v.microseconds), datetime.timedelta),
    "dt": (datetime.datetime, lambda v: (v.isoformat(),), datetime.datetime.fromisoformat),
    "da": (datetime.date, lambda v: (v.isoformat(),), datetime.date.fromisoformat),
    "ti": (datetime.time, lambda v: (v.isoformat(),), datetime.time.fromisoformat),
}


def send(channel: socket.socket, message: Any) -> None:
    """Write a frame."""
    data = json.dumps(message).encode()
    if len(data) > LARGEST:
        raise NotPlain(f"more than {LARGEST} bytes")
    try:
        channel.sendall(len(data).to_bytes(4, "big") + data)
    except OSError as error:
        raise Broken(str(error)) from None


def receive(channel: socket.socket) -> Any:
    """Read a frame; `Broken` where there is none."""
    size = int.from_bytes(_exactly(channel, 4), "big")
    if size > LARGEST:
        raise Broken(f"a message of more than {LARGEST} bytes")
    try:
        return json.loads(_exactly(channel, size))
    except (ValueError, RecursionError) as error:
        raise Broken(f"no JSON: {type(error).__name__}") from None


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        try:
            part = channel.recv(min(count, 2**16))
        except OSError as error:
            raise Broken(str(error)) from None
        if not part:
            raise Broken("it ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
