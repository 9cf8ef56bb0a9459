"""What runs an answer: as a program of its own, or as a module whose functions a judge calls from another process.

A process comes here once, forked from a clean template and already shut in (`worker`), with nothing in memory but this code. What it sends is a claim and is
taken for no more: it never sees what is expected. The standard library alone is imported.
"""

import atexit
import builtins
import inspect
import io
import linecache
import operator
import os
import socket
import sys
import threading
import types

from operant.worlds.text import plain

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
    "isinstance": isinstance,
    "issubclass": issubclass,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target: type(target).__exit__(target, None, None, None),
    "await": lambda target: _await(target),
    "eq": operator.eq,
    "neg": operator.neg,
} | {
    name: getattr(operator, name)
    for name in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
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
        kept = self.buffer.getvalue().decode(errors="replace")[: 2**16]
        self.buffer.seek(0)
        self.buffer.truncate()
        return kept


def _serve(code: str, file: str, channel: socket.socket) -> None:
    """Load the code as a module named `answer`, say which names it has, and do what the judge asks."""
    printed = sys.stdout = _Printed()
    module = _module("answer", file)
    try:
        exec(compile(code, file, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        plain.send(channel, ["failed", type(error).__name__])
        return
    held: list = []

    def handle(value: object) -> list:
        held.append(value)
        return ["h", len(held) - 1, "coroutine" if inspect.iscoroutine(value) else ""]

    def read(form: list) -> object:
        mark, number = form[0], form[1]
        if mark == "h":
            return held[number]
        return lambda *args, **named: ask(["callback", number, plain.encode([args, named], handle)])

    def ask(message: list) -> object:
        plain.send(channel, message)
        return answered()

    def answered() -> object:
        """What the judge says to a callback; until then it may ask in its turn."""
        while True:
            verb, *parts = plain.receive(channel)
            if verb == "value":
                return plain.decode(parts[0], read)
            if verb == "raised":
                raise getattr(builtins, parts[0], RuntimeError)(parts[1])
            do(verb, parts[0])

    def do(verb: str, form: list) -> None:
        operands = plain.decode(form, read)
        try:
            value = _OPERATIONS[verb](*operands)
            # A function that changes its argument in place gives nothing back; so what it left of the arguments goes with a None.
            left = plain.encode(operands[1], handle) if verb == "call" and value is None else None
            reply = ["ok", plain.encode(value, handle), left, printed.take()]
        except plain.Broken:
            raise
        except BaseException as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            reply = ["raised", kinds, str(error)[:1000], printed.take()]
        plain.send(channel, reply)

    names = {}
    for name, value in list(module.__dict__.items()):
        if name.startswith("__") or not isinstance(name, str):
            continue
        if isinstance(value, types.ModuleType):
            names[name] = ["module"]
        elif isinstance(value, type) and issubclass(value, BaseException):
            names[name] = ["exception", [kind.__name__ for kind in value.__mro__]]
        else:
            try:
                names[name] = ["value", plain.encode(value, handle)]
            except plain.NotPlain:
                names[name] = ["value", handle(value)]
    plain.send(channel, ["names", names])
    while True:
        verb, form = plain.receive(channel)
        do(verb, form)


def _await(coroutine):
    import asyncio

    return asyncio.run(coroutine)
