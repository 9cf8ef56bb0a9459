"""A judge's side of an answer that runs in another process: starting it, feeding it, and calling what it defines. The standard library alone is imported."""

from __future__ import annotations

import builtins
import contextlib
import os
import selectors
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

from operant.worlds.text import plain

WORD = b"A"  # what the template takes for "run an answer"
_MOST_NAMES = 10_000
# Methods of text and sets whose operand is what is expected: an object that an answer made must not say how they turn out.
_PREDICATES = frozenset({"startswith", "endswith", "issubset", "issuperset", "isdisjoint"})

_TOLD = frozenset({"__name__", "__qualname__", "__doc__", "__dict__"})


class CannotHandOver(TypeError):
    """The tests give the answer something that cannot cross to its process."""


class _Process:
    """A process that runs an answer, with a leash on it and the pipe where its guard says how it ended."""

    def __init__(self, door: socket.socket, job: dict, streams: tuple[int, ...] = ()):
        self.channel, inside = socket.socketpair()
        leash, self._leash = os.pipe()
        self.ending, ending = os.pipe()
        try:
            socket.send_fds(door, [WORD], [leash, ending, inside.fileno(), *streams])
        finally:
            inside.close()
            for pipe in (leash, ending, *streams):
                os.close(pipe)
        with contextlib.suppress(plain.Broken):  # it ended early, which shows
            plain.send(self.channel, job)

    def close(self) -> str:
        """Kill it where it still runs; how it ended. When this returns nothing of it is left."""
        self.channel.close()
        os.close(self._leash)
        said = b""
        while part := os.read(self.ending, 256):
            said += part
        os.close(self.ending)
        return said.decode(errors="replace")


def run_program(door: socket.socket, code: str, given: str, most: int) -> tuple[bytes, bool]:
    """Run code as a program of its own on real pipes; what it printed, and whether it ended by itself with exit code 0.

    Args:
        given: its standard input.
        most: bytes of output; a program that prints more is killed.
    """
    stdin, feed = os.pipe()
    read, stdout = os.pipe()
    process = _Process(door, {"code": code, "program": True}, (stdin, stdout))
    waiting, printed, good = memoryview(given.encode(errors="surrogatepass")), bytearray(), False
    os.set_blocking(feed, False)
    os.set_blocking(read, False)
    with selectors.DefaultSelector() as selector:
        selector.register(feed, selectors.EVENT_WRITE)
        selector.register(read, selectors.EVENT_READ)
        selector.register(process.ending, selectors.EVENT_READ)
        ended = False
        while not ended and len(printed) <= most:
            for key, _ in selector.select():
                if key.fd == feed:
                    try:
                        waiting = waiting[os.write(feed, waiting[:65536]) :] if waiting else waiting
                        done = not waiting
                    except BlockingIOError:
                        done = False
                    except BrokenPipeError:
                        done = True  # it does not read to the end, as a program may
                    if done:
                        selector.unregister(feed)
                        os.close(feed)
                        feed = -1
                elif key.fd == read:
                    part = os.read(read, 65536)
                    printed += part
                    if not part:
                        selector.unregister(read)
                else:
                    ended = True
    if ended:  # all that could print is gone: the pipe holds the rest
        with contextlib.suppress(BlockingIOError):
            while len(printed) <= most and (part := os.read(read, 65536)):
                printed += part
        good = len(printed) <= most
    for pipe in (feed, read):
        if pipe >= 0:
            os.close(pipe)
    return bytes(printed), process.close() == "exited with code 0" and good


class Module:
    """An answer that is loaded as a module in a process of its own; `names` holds what it defines.

    Plain data come over as copies. All else (objects, classes, functions, generators) stays where it is, and a `Handle` stands for it. A handle is never
    equal to plain data, and has no arithmetic with it that ends in plain data, so that no object of the answer's says that it is what was expected.

    Raises:
        plain.Broken: the answer ended, or sent what is no message.
        AnswerFailed: its code does not load.
    """

    def __init__(self, door: socket.socket, code: str):
        self._process = _Process(door, {"code": code, "program": False})
        self._callbacks: list[Callable] = []
        self.calls = 0
        try:
            first, found = self._receive(2)
            if first != "names":
                raise AnswerFailed(str(found))
            if not isinstance(found, dict) or len(found) > _MOST_NAMES:
                raise plain.Broken("no names")
            # Names with two underscores are the interpreter's: `__builtins__` would be what the tests call everything from.
            self.names = {name: self._named(name, *form) for name, form in found.items() if name.isidentifier() and not name.startswith("__")}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End its process."""
        self._process.close()

    def ask(self, verb: str, *operands: Any) -> Any:
        """Do an operation in the answer's process; its value, or the exception that came of it (marked as the answer's own)."""
        form = plain.encode(operands, self._write)
        self.calls += 1
        plain.send(self._process.channel, [verb, form])
        while True:
            kind, *parts = self._receive(4)
            if kind == "callback":
                self._answer(*parts)
                continue
            if sys.stdout is not sys.__stdout__:
                sys.stdout.write(str(parts[2]))  # the tests are listening
            if kind == "raised":
                raise self._exception(parts[0], str(parts[1]))
            if kind != "ok":
                raise plain.Broken("no such message")
            value = plain.decode(parts[0], self._read)
            if value is None and verb == "call" and parts[1] is not None:
                left = plain.decode(parts[1], self._read)
                if isinstance(left, list | tuple) and len(left) == len(operands[1]):
                    for mine, its in zip(operands[1], left, strict=True):
                        _overwrite(mine, its)
            return value

    def _receive(self, most: int) -> list:
        message = plain.receive(self._process.channel)
        if not isinstance(message, list) or not 2 <= len(message) <= most:
            raise plain.Broken("no such message")
        if message[0] in ("ok", "raised") and len(message) != 4 or message[0] == "callback" and len(message) != 3:
            raise plain.Broken("no such message")
        return message

    def _named(self, name: str, kind: str, *parts: Any) -> Any:
        if kind == "module":
            return ModuleName(name)
        if kind == "exception":
            made = type(name, (_builtin_exception(parts[0][1:]),), {"__module__": "answer"})
            return made
        return plain.decode(parts[0], self._read)

    def _exception(self, kinds: Any, message: str) -> BaseException:
        kinds = [kind for kind in kinds if isinstance(kind, str)] if isinstance(kinds, list) else []
        own = self.names.get(kinds[0]) if kinds and hasattr(self, "names") else None
        error = own if isinstance(own, type) and issubclass(own, Exception) else _builtin_exception(kinds)
        try:
            made = error(message)
        except TypeError:
            made = RuntimeError(message)
        made.of_answer = True
        return made

    def _write(self, value: Any) -> list:
        if isinstance(value, Handle) and object.__getattribute__(value, "_module") is self:
            return ["h", object.__getattribute__(value, "_number")]
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
            self._callbacks.append(value)
            return ["k", len(self._callbacks) - 1]
        raise CannotHandOver(f"the tests give the answer a {type(value).__name__}, which cannot be handed to another process")

    def _read(self, form: list) -> Any:
        if form[0] != "h" or len(form) != 3 or not isinstance(form[1], int):
            raise plain.Broken("no such form")
        made = Handle(self, form[1])
        if form[2] == "coroutine":
            return _waiter(made)
        return made

    def _answer(self, number: Any, form: Any) -> None:
        """Call back a function that the tests passed in."""
        if not isinstance(number, int) or not 0 <= number < len(self._callbacks):
            raise plain.Broken("no such function")
        args, named = plain.decode(form, self._read)
        try:
            reply = ["value", plain.encode(self._callbacks[number](*args, **named), self._write)]
        except plain.Broken:
            raise
        except Exception as error:
            reply = ["raised", type(error).__name__, str(error)[:1000]]
        plain.send(self._process.channel, reply)


class AnswerFailed(Exception):
    """The answer's code raised while it was loaded."""


class ModuleName(str):
    """The name under which an answer has imported a module."""


class Handle:
    """Something in the process of an answer."""

    __slots__ = ("_module", "_number", "_mixed")

    def __init__(self, module: Module, number: int, mixed: bool = False):
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_mixed", mixed)  # made from plain data of the tests by arithmetic: says nothing of itself

    def __call__(self, *args, **named):
        return _ask("call", self, list(args), named)

    def __getattr__(self, name):
        if name in _PREDICATES:
            raise TypeError(f"{name} of an object that is no text and no set")
        if name.startswith("__") and name not in _TOLD:  # others are protocols: numpy would read memory where such an attribute points
            raise AttributeError(name)
        return _ask("attr", self, name)

    def __setattr__(self, name, value):
        _ask("set", self, name, value)

    def __getitem__(self, key):
        return _ask("item", self, key)

    def __setitem__(self, key, value):
        _ask("setitem", self, key, value)

    def __delitem__(self, key):
        _ask("delitem", self, key)

    def __len__(self):
        return _typed(int, "len", self)

    def __bool__(self):
        return _typed(bool, "bool", self)

    def __str__(self):
        return _typed(str, "str", self)

    def __repr__(self):
        return _typed(str, "repr", self)

    def __hash__(self):
        return _typed(int, "hash", self)

    def __iter__(self):
        iterator = _ask("iter", self)
        while True:
            try:
                yield _ask("next", iterator)
            except StopIteration:
                return

    def __next__(self):
        return _ask("next", self)

    def __contains__(self, item):
        return any(item == each for each in self)  # compared here

    def __enter__(self):
        return _ask("enter", self)

    def __exit__(self, *_):
        _ask("exit", self)

    def __instancecheck__(self, value):
        return isinstance(value, Handle) and _typed(bool, "isinstance", value, self)

    def __subclasscheck__(self, value):
        return isinstance(value, Handle) and _typed(bool, "issubclass", value, self)

    def __eq__(self, other):
        return isinstance(other, Handle) and _ask("eq", self, other) is True

    def __neg__(self):
        return _mixed(_ask("neg", self))


def _operator(verb: str, *, swapped: bool = False) -> Callable:
    def operate(self: Handle, other: Any) -> Any:
        first, second = (other, self) if swapped else (self, other)
        if isinstance(other, Handle):
            return _ask(verb, first, second)
        if isinstance(other, int | float | complex) and verb not in ("lt", "le", "gt", "ge"):
            return _mixed(_ask(verb, first, second))
        return NotImplemented

    return operate


for _verb in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    setattr(Handle, f"__{_verb.rstrip('_')}__", _operator(_verb))
    if _verb not in ("lt", "le", "gt", "ge"):
        setattr(Handle, f"__r{_verb.rstrip('_')}__", _operator(_verb, swapped=True))


def _ask(verb: str, handle: Any, *operands: Any) -> Any:
    module = next(object.__getattribute__(part, "_module") for part in (handle, *operands) if isinstance(part, Handle))
    return module.ask(verb, handle, *operands)


def _typed(kind: type, verb: str, handle: Handle, *operands: Any) -> Any:
    if verb in ("bool", "len") and object.__getattribute__(handle, "_mixed"):
        raise TypeError("an object that was made from what is expected says nothing of itself")
    value = _ask(verb, handle, *operands)
    if type(value) is not kind:
        raise TypeError(f"{verb} gave no {kind.__name__}")
    return value


def _mixed(value: Any) -> Handle:
    """The outcome of arithmetic between an object of the answer's and plain data: another object of the answer's."""
    if not isinstance(value, Handle):
        raise TypeError("arithmetic between an object and plain data must give an object")
    object.__setattr__(value, "_mixed", True)
    return value


async def _waiter(handle: Handle) -> Any:
    return _ask("await", handle)


def _overwrite(mine: Any, its: Any) -> None:
    """Let a container that was passed to a function be what the function left of it."""
    if type(mine) is not type(its):
        return
    if isinstance(mine, list | bytearray):
        mine[:] = its
    elif isinstance(mine, dict | set):
        mine.clear()
        mine.update(its)


def _builtin_exception(kinds: list) -> type[Exception]:
    """The nearest exception that Python has itself, by the names of a class and its bases."""
    for kind in kinds:
        found = getattr(builtins, kind, None) if isinstance(kind, str) else None
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    return RuntimeError
