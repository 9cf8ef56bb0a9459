"""What runs an answer: as a program of its own, or as a module whose functions a judge calls from another process.

A process comes here once, forked from a clean template and already shut in (`worker`), with nothing in memory but this code. What it sends is a claim and is
taken for no more: it never sees what is expected. The standard library alone is imported.
"""

import atexit
import builtins
import collections
import copy
import functools
import importlib
import inspect
import io
import linecache
import math
import operator
import os
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator

from operant.worlds.text import plain

_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and_", "or_", "xor")
_OPERATIONS = {
    "call": lambda target, args, named: target(*args, **named),
    "attr": getattr,
    "set": setattr,
    "item": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
    "bool": bool,
    "hash": hash,
    "format": format,
    "int": int,
    "float": float,
    "abs": abs,
    "round": round,
    "reversed": reversed,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "same": lambda target: target,
    "isinstance": isinstance,
    "issubclass": issubclass,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target: type(target).__exit__(target, None, None, None),
    "await": lambda target: _await(target),
    "eq": operator.eq,
    "delattr": delattr,
    "contains": operator.contains,
    "divmod": divmod,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "aiter": aiter,
    "anext": lambda target: _await(anext(target)),
    "aenter": lambda target: _await(type(target).__aenter__(target)),
    "aexit": lambda target: _await(type(target).__aexit__(target, None, None, None)),
    "generator send": lambda target, value: target.send(value),
    "generator throw": lambda target, error: target.throw(error),
    "generator close": lambda target: target.close(),
} | {
    name: getattr(operator, name)
    for name in ("lt", "le", "gt", "ge", "neg", "pos", "invert", "index", *_ARITHMETIC, *(f"i{name.rstrip('_')}" for name in _ARITHMETIC))
}


def run(channel: socket.socket, path: list[str]) -> None:
    """Run the job that the channel holds; the process ends here.

    Args:
        path: where modules are imported from.
    """
    job = plain.receive(channel)
    file = os.path.join(os.getcwd(), "answer.py")
    try:
        with open(file, "w", encoding="utf-8", errors="surrogatepass") as source:
            source.write(job["code"])
    except OSError:
        pass  # only those who look for their own source miss it
    sys.path[:] = [os.getcwd(), *path]
    sys.argv = [file]
    linecache.clearcache()
    if job["program"]:
        channel.close()
        _program(job["code"], file)
    else:
        _serve(job["code"], file, channel)
    os._exit(0)


def _module(name: str, file: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__file__ = file
    module.__builtins__ = builtins
    sys.modules[name] = module
    return module


def _program(code: str, file: str) -> None:
    """Run the code as Python runs a script, on the process's own standard streams, and end with its exit code."""
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    status = 0
    try:
        exec(compile(code, file, "exec", dont_inherit=True), _module("__main__", file).__dict__)
    except SystemExit as end:
        status = 0 if end.code is None else end.code & 0xFF if isinstance(end.code, int) else 1
    except MemoryError:
        status = plain.OUT_OF_MEMORY
    except BaseException:
        status = 1
    try:
        threading._shutdown()  # as at the end of any program: threads that are no daemons are waited for
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        status = status or 120
    os._exit(status)


class _Printed(io.TextIOWrapper):
    """A standard output that is kept until it is taken."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="surrogatepass", write_through=True)

    def take(self) -> str:
        kept = self.buffer.getvalue().decode(errors="replace")
        self.buffer.seek(0)
        self.buffer.truncate()
        return kept


def _serve(code: str, file: str, channel: socket.socket) -> None:
    """Load the code as a module named `answer`, say which names it has, and do what the judge asks."""
    printed, told = sys.stdout, sys.stderr = _Printed(), _Printed()
    module = _module("answer", file)

    def say(message: list) -> None:
        try:
            plain.send(channel, message)
        except plain.NotPlain as error:
            plain.send(channel, ["exceeded", f"what it hands over, {error}"])

    try:
        exec(compile(code, file, "exec", dont_inherit=True), module.__dict__)
    except MemoryError:
        say(["exceeded", plain.ITS_MEMORY])
        return
    except BaseException as error:
        say(["failed", type(error).__name__])
        return
    held: list = []
    numbers: dict[int, int] = {}  # one object, one number
    of_tests: dict[int, tuple] = {}  # exceptions of callbacks, by which the tests know their own again

    def number(value: object) -> int:
        if id(value) not in numbers:
            held.append(value)
            numbers[id(value)] = len(held) - 1
        return numbers[id(value)]

    def handle(value: object, depth: int = 0) -> list:
        """The form of what stays here: with the plain part of it, where it has one, and what an exception is."""
        kind = type(value)
        if isinstance(value, type):
            if issubclass(value, BaseException):
                return error_class(value)
            return ["m", "builtins", value.__name__] if getattr(builtins, value.__name__, None) is value else ["h", number(value), "", _protocols(kind)]
        if isinstance(value, BaseException):
            args = [*value.args, value.filename] if isinstance(value, OSError) and value.filename is not None else list(value.args)
            cause = None if value.__cause__ is None else handle(value.__cause__, depth + 1)
            return ["e", number(value), error_class(kind), plain.encode(args, handle, depth + 1), _text(value), cause]
        held_in = plain.content(value, handle, depth + 1)
        if held_in is not None:
            base, form = held_in
            if base not in plain.DERIVED:
                return form
            return ["o", number(value), form, [name for name in _OVERRIDDEN if getattr(kind, name, None) is not getattr(base, name, None)]]
        return ["h", number(value), "coroutine" if inspect.iscoroutine(value) else "method" if inspect.ismethod(value) else "", _protocols(kind)]

    def error_class(kind: type) -> list:
        """The form of a class of exceptions: Python's own by its name, one of the answer's with its bases."""
        there = sys.modules.get(kind.__module__)
        if kind.__module__.partition(".")[0] in sys.stdlib_module_names and getattr(there, kind.__name__, None) is kind:
            return ["m", kind.__module__, kind.__name__]
        return ["x", number(kind), kind.__name__, [error_class(base) for base in kind.__bases__ if issubclass(base, BaseException)]]

    def read(form: list) -> object:
        mark, *parts = form
        if mark == "h":
            return held[parts[0]]
        if mark == "m":
            return getattr(importlib.import_module(parts[0]), parts[1])
        if mark == "nt":
            return _tuple_class(parts[0], tuple(parts[1]))(*(plain.decode(part, read) for part in parts[2]))
        if mark == "g":
            return _pulled(lambda: ask(["callback", parts[0], plain.encode([[], {}], handle)]))
        return _named(lambda *args, **named: ask(["callback", parts[0], plain.encode([args, named], handle)]), *parts[1:])

    def ask(message: list) -> object:
        say(message)
        return answered()

    def answered() -> object:
        """What the judge says to a callback; until then it may ask in its turn."""
        while True:
            verb, *parts = plain.receive(channel)
            if verb == "value":
                return plain.decode(parts[0], read)
            if verb == "raised":
                error = getattr(builtins, parts[0], RuntimeError)(parts[1])
                of_tests[id(error)] = (error, parts[2])
                raise error
            do(verb, parts[0])

    def do(verb: str, form: list) -> None:
        operands = plain.decode(form, read)
        changeable = plain.changeable(operands[1:]) if verb == "call" else []
        try:
            value = _OPERATIONS[verb](*operands)
            # A function that changes its argument in place gives nothing back; so what it left of the arguments goes with a None. (With a value it does not:
            # `assert f(xs) == sorted(xs)` would be true of an answer that empties xs and gives back an empty list.)
            left = plain.encode(changeable, handle) if verb == "call" and value is None else None
            reply = ["ok", plain.encode(value, handle), left, [printed.take(), told.take()]]
        except plain.Broken:
            raise
        except (plain.NotPlain, MemoryError) as error:
            reply = ["exceeded", str(error) or plain.ITS_MEMORY]
        except BaseException as error:
            reply = ["raised", ["own", of_tests[id(error)][1]] if id(error) in of_tests else handle(error), [printed.take(), told.take()]]
        say(reply)

    names = {}
    for name, value in list(module.__dict__.items()):
        if not isinstance(name, str) or name.startswith("__"):
            continue
        if isinstance(value, types.ModuleType):
            names[name] = ["module"]
            continue
        if isinstance(value, type) and not issubclass(value, BaseException):
            names[name] = ["value", ["h", number(value), "", _protocols(type(value))]]  # also Python's own: a call of it is one of the answer
            continue
        try:
            names[name] = ["value", plain.encode(value, handle)]
        except (plain.NotPlain, RecursionError):
            names[name] = ["value", ["h", number(value), "", _protocols(type(value))]]
    say(["names", names])
    while True:
        verb, form = plain.receive(channel)
        do(verb, form)


# What the type of an object may have, or not; each is asked of the object only where its type has it.
_PROTOCOLS = (
    *("call", "iter", "next", "len", "getitem", "setitem", "delitem", "contains", "enter", "exit", "reversed", "int", "float", "index", "abs", "round"),
    *("neg", "pos", "invert", "floor", "ceil", "trunc", "divmod", "hash", "lt", "le", "gt", "ge", "aiter", "anext", "aenter", "aexit"),
    *(before + name.rstrip("_") for name in _ARITHMETIC for before in ("", "r", "i")),
)


def _protocols(kind: type) -> list[str]:
    """The methods by which instances of a type take part in what Python's syntax does."""
    mine = {name: value for base in reversed(kind.__mro__) if base is not object for name, value in vars(base).items()}
    found = [name for name in (f"__{each}__" for each in _PROTOCOLS) if mine.get(name) is not None]
    if "__hash__" not in mine:  # object's
        found.append("__hash__")
    return found + [name for name in ("send", "throw", "close") if issubclass(kind, types.GeneratorType)]


# What a subclass of a plain type may do in another way than that type; all else is done with what it holds.
_OVERRIDDEN = ["__getitem__", "__missing__", *(f"__{name}__" for name in ("add", "sub", "mul", "truediv", "mod", "matmul", "and", "or", "xor", "neg", "abs"))]


@functools.cache
def _tuple_class(name: str, fields: tuple) -> type:
    return collections.namedtuple(name, fields)


def _pulled(take: Callable) -> Iterator:
    """An iterator of the tests'."""
    while True:
        try:
            value = take()
        except StopIteration:
            return
        yield value


def _named(function: Callable, name: str, text: str | None) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception:
        return ""


@functools.cache
def _loop():
    import asyncio

    return asyncio.new_event_loop()


def _await(awaitable):
    """What comes of it, in one loop for all that the answer awaits."""

    async def wait():
        return await awaitable

    return _loop().run_until_complete(wait())
