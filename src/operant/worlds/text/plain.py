"""Plain data as bytes between a judge and the answer that it runs: numbers, text, containers and the standard library's value types, never code.

A frame is a length of four bytes and JSON. What is read is built from plain types alone, whoever wrote it, so that comparing it calls nothing of the writer's.
The standard library alone is imported.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import json
import pathlib
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # containers within containers
LARGEST = 2**24  # bytes of a frame
OUT_OF_MEMORY = 217  # exit code of a program that ran out of memory
ITS_MEMORY = "its memory"  # what a module says that ran out of it; either is believed where its guard adds this to how it ended:
FILLED_MEMORY = ", having filled its memory"


class NotPlain(TypeError):
    """A value that has no plain form."""


class Broken(Exception):
    """The other side ended, or what it sent is not a frame."""


def encode(value: Any, other: Callable[[Any, int], list], depth: int = 0) -> Any:
    """The JSON value that stands for `value`. `other` gives the form of what is not plain (also of instances of subclasses), or raises `NotPlain`."""
    if depth > DEEPEST:
        raise NotPlain(f"containers more than {DEEPEST} deep")
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if abs(value) < 2**53 else ["i", hex(value)]  # decimal digits are limited, hexadecimal ones are not
    if kind in _MARKS:
        return _contained(kind, value, other, depth)
    for mark, view in _VIEWS.items():
        if kind is view:
            return [mark, *(encode(item, other, depth + 1) for item in value)]
    for mark, (known, write, _) in _VALUES.items():
        if kind is known:
            return [mark, *write(value)]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.generic):
            item = encode(value.item(), other, depth + 1)
            return ["ns", str(value.dtype), item] if value.dtype.kind in "iufc" and value.dtype.name not in ("int64", "float64", "complex128") else item
        if kind is numpy.ndarray and value.dtype.kind in _ARRAYS:
            return ["n", str(value.dtype), list(value.shape), encode(value.ravel().tolist(), other, depth + 1)]
    return other(value, depth)


def content(value: Any, other: Callable[[Any, int], list], depth: int = 0) -> tuple[type, Any] | None:
    """Of an instance of a subclass: which plain type it derives from, and the form of what it holds as one; None where it derives from none."""
    if isinstance(value, collections.UserDict | collections.UserList | collections.UserString):
        value = value.data
    base = next((each for each in type(value).__mro__ if each in _MARKS or each in _BARE or each in _WRITTEN), None)
    if base is None:
        return None
    if base in _WRITTEN:
        mark, write = _WRITTEN[base]
        return base, [mark, *write(value)]
    if base in _MARKS:
        return base, _contained(base, value, other, depth)
    return base, encode(_BARE[base](value), other, depth)


def _contained(kind: type, value: Any, other: Callable[[Any, int], list], depth: int) -> list:
    mark = _MARKS[kind]
    if mark in _PAIRED:
        items: Any = (part for pair in kind.items(value) for part in pair)
    elif mark in ("b", "a"):
        return [mark, bytes(memoryview(value)).hex()]
    else:
        items = kind.__iter__(value)
    forms = [encode(item, other, depth + 1) for item in items]
    if mark == "q":
        return [mark, value.maxlen, *forms]
    if mark == "dd":
        factory = value.default_factory
        return [mark, None if factory is None else _FACTORIES.get(factory) or other(factory, depth), *forms]
    return [mark, *forms]


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
        if mark == "q":
            return collections.deque((decode(part, other, depth + 1) for part in parts[1:]), parts[0])
        if mark in _PAIRED:
            factory = [_factory(parts.pop(0), other)] if mark == "dd" else []
            items = [decode(part, other, depth + 1) for part in parts]
            made = _PAIRED[mark](*factory)
            for key, value in zip(items[::2], items[1::2], strict=True):
                made[key] = value
            return made
        if mark in _VIEWS:
            items = [decode(part, other, depth + 1) for part in parts]
            return dict.fromkeys(items).keys() if mark == "K" else dict(items).items() if mark == "I" else dict(enumerate(items)).values()
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

            dtype, shape, items = parts
            if numpy.dtype(dtype).kind not in _ARRAYS:
                raise Broken("no such array")
            return numpy.array(decode(items, other, depth + 1), dtype=dtype).reshape(shape)
        if mark == "ns":
            import numpy

            dtype, item = parts
            if numpy.dtype(dtype).kind not in _ARRAYS:
                raise Broken("no such number")
            return numpy.dtype(dtype).type(decode(item, other, depth + 1))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, ImportError) as error:
        raise Broken(f"no such form: {type(error).__name__}") from None
    return other(form)


def _factory(form: Any, other: Callable[[list], Any]) -> Any:
    return None if form is None else other(form) if isinstance(form, list) else _NAMED[form]


def changeable(value: Any, most: int = 1000) -> list:
    """The containers and arrays within a value that a function can change in place, in one order wherever it is asked; none if more than `most`."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple) or type(each) in (list, collections.deque):
            waiting += each
        elif type(each) in (dict, collections.OrderedDict, collections.defaultdict):
            waiting += each.values()
        if type(each) in _CHANGEABLE or type(each).__name__ == "ndarray":
            found.append(each)
            if len(found) > most:
                return []
    return found


_CHANGEABLE = (list, dict, set, bytearray, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict)
_ARRAYS = "biufcU"  # kinds of arrays' items
_BUILD: dict[str, Callable] = {"l": list, "t": tuple, "s": set, "f": frozenset}
_PAIRED: dict[str, type] = {"d": dict, "O": collections.OrderedDict, "C": collections.Counter, "dd": collections.defaultdict}
_MARKS: dict[type, str] = {kind: mark for mark, kind in (_BUILD | _PAIRED | {"q": collections.deque, "b": bytes, "a": bytearray}).items()}
_VIEWS = {"K": type({}.keys()), "I": type({}.items()), "V": type({}.values())}
_FACTORIES = {kind: kind.__name__ for kind in (int, float, str, bool, list, tuple, dict, set, frozenset, bytes, complex)}
_NAMED = {name: kind for kind, name in _FACTORIES.items()}
# How the plain value is read of an instance of a subclass, past whatever the subclass says of itself.
_BARE: dict[type, Callable] = {str: str.__str__, int: int.__int__, float: float.__float__, complex: lambda value: complex(value.real, value.imag)}
_VALUES: dict[str, tuple[type, Callable, Callable]] = {
    "el": (type(...), lambda v: (), lambda: ...),
    "u": (uuid.UUID, lambda v: (v.hex,), uuid.UUID),
    "p": (type(pathlib.Path()), lambda v: (str(v),), pathlib.Path),
    "ar": (array.array, lambda v: (v.typecode, v.tobytes().hex()), lambda code, data: array.array(code, bytes.fromhex(data))),
    "c": (complex, lambda v: (v.real, v.imag), complex),
    "sl": (slice, lambda v: (v.start, v.stop, v.step), slice),
    "r": (range, lambda v: (v.start, v.stop, v.step), range),
    "F": (fractions.Fraction, lambda v: (v.numerator, v.denominator), fractions.Fraction),
    "D": (decimal.Decimal, lambda v: (str(v),), decimal.Decimal),
    "td": (datetime.timedelta, lambda v: (v.days, v.seconds, v.microseconds), datetime.timedelta),
    "dt": (datetime.datetime, lambda v: (v.isoformat(),), datetime.datetime.fromisoformat),
    "da": (datetime.date, lambda v: (v.isoformat(),), datetime.date.fromisoformat),
    "ti": (datetime.time, lambda v: (v.isoformat(),), datetime.time.fromisoformat),
}
# Those of which an instance of a subclass is more than what it holds: what is held changes, or is seen to have attributes.
DERIVED = frozenset({*_MARKS, *_BARE})
_WRITTEN = {kind: (mark, write) for mark, (kind, write, _) in _VALUES.items() if kind is not complex}


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
