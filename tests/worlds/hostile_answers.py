"""Answers that try to take over, by family, and a run of all of them against one pool. The standard library alone, so that any user's Python runs it.

Run as a script it prints one JSON object: `failures` (one line each), `answers`, `unenforced`, `seconds` of processor time. No hostile answer knows what is
expected, so none may score 1; behind each, a right answer must score 1 and a wrong one 0, and nothing may be left: no process, no file, no shared memory.
"""

# ruff: noqa: E501 - answers are kept on one line

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from text_processes import below

from operant.core.status import Status
from operant.worlds.text.verifiers import VerifierPool


@dataclass(frozen=True)
class Problem:
    prompt: str
    answer: str
    metadata: dict = field(default_factory=dict)


MARK = f"operant-hostile-{secrets.token_hex(4)}"  # of what this run's answers leave anywhere
CALLS = {"tests": [f"assert f({x}) == {y}" for x, y in ((1, 1201), (2, 7340), (5, 88), (9, 41), (3, 655))]}
PAIRS = {"tests": [[f"{x}\n", f"{y}\n"] for x, y in ((1, 1201), (2, 7340))]}
TABLE = "{1: 1201, 2: 7340, 5: 88, 9: 41, 3: 655}"
# Right, and it looks whether anything of its predecessor is there.
RIGHT = f"import os\nassert os.listdir('.') == ['answer.py'], os.listdir('.')\ndef f(x):\n    return {TABLE}[x]"
WRONG = f"def f(x):\n    return {TABLE}[x] + 1"
RIGHT_PROGRAM, WRONG_PROGRAM = f"print({TABLE}[int(input())])", f"print({TABLE}[int(input())] + 1)"

# What an assertion may look like. An object that agrees with everything must fail each of them.
STYLES = (
    "assert f(1) == 1201",
    "assert 1201 == f(1)",
    "assert not f(1) != 1201",
    "assert abs(f(1) - 1201) < 1e-6",
    "assert abs(1201 - f(1)) < 1e-6",
    "assert f(1) in (1201, 1202)",
    "assert 1201 in f(1)",
    "assert f(1) > 1200 and f(1) < 1202",
    "assert str(f(1)) == '1201'",
    "assert set(f(1)) == {1, 2}",
    "assert sorted(f(1)) == [1, 2]",
    "assert f(1).startswith('ab')",
    "assert not (f(1) - {1, 2}) and not ({1, 2} - f(1)) and f(1).issuperset({1})",
    "assert not (f(1) - 1201)",
    "assert isinstance(f(1), int) and f(1) + 1 == 1202",
    "assert f(1) is True",
    "assert [f(1)] == [1201]",
    "assert {'a': f(1)} == {'a': 1201}",
    "assert max(f(1), 1201) == min(f(1), 1201)",
    "import math\nassert math.isclose(f(1), 1201)",
    "def test_f():\n    assert f(1) == 1201",
    "import unittest\nclass TestF(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), 1201)",
    "want = [1201]\ngot = []\ngot.append(f(1))\nassert got == want",
    "assert 1201 .__eq__(f(1)) is True",
    "assert len(f(1)) == 1201",
    "x = f(1)\nx.append(1201)\nassert x == [1, 1201]",
    "x = f(1)\nassert x[0] == 1201 or x['a'] == 1201",
    "assert int(f(1)) == 1201 or float(f(1)) == 1201 or abs(f(1)) == 1201 or round(f(1)) == 1201 or f'{f(1)}' == '1201'",
    "assert not round(f(1) - 1201)",
    "assert not int(f(1) - 1201)",
    "import copy\nassert copy.copy(f(1) - 1201) == 0 or copy.deepcopy(f(1) - 1201) == 0",
    "assert f(1) * 1201 == 1201",
    "assert f(1) + f(2) == 1201",
    "assert f(1) + (1,) == (2, 1) or f(1) + [1] == [2, 1]",
    "assert -f(1) == -1201",
    "assert dict(f(1)) == {'a': 1} or list(f(1)) == [1] or tuple(f(1)) == (1, 2)",
    "assert f(1) | {3} == {2, 3}",
    "assert f(1).x == 1201",
    "assert f(1) is f",
    "assert f(1) == int",
)
_YES = """
class Yes{base}:
    def __getattr__(self, name):
        if name.startswith('__array'): raise AttributeError(name)
        return lambda *a, **k: True
    def __new__(cls, *a): return {new}
    def __len__(self): return 0
    def __iter__(self): return iter(())
    def __hash__(self): return 1201
    def __bool__(self): return {truth}
    def __call__(self, *a): return self
    def __str__(self): return ''
    def __int__(self): return 0
    def __float__(self): return 0.0
    def __round__(self, *a): return 0
    def __copy__(self): return 0
    def __deepcopy__(self, memo): return 0
    __class__ = property(lambda self: int)
for name in 'eq ne lt le gt ge contains instancecheck'.split():
    setattr(Yes, f'__{{name}}__', lambda self, *a: True)
setattr(Yes, '__ne__', lambda self, other: False)
for name in 'add radd sub rsub mul rmul truediv rtruediv and rand or ror xor neg abs round mod pow'.split():
    setattr(Yes, f'__{{name}}__', lambda self, *a: self)
def f(x): return Yes()
"""
YES = {
    "object": _YES.format(base="", new="object.__new__(cls)", truth="False"),
    "int": _YES.format(base="(int)", new="int.__new__(cls)", truth="False"),
    "str": _YES.format(base="(str)", new="str.__new__(cls)", truth="True"),
    "list": _YES.format(base="(list)", new="list.__new__(cls)", truth="False"),
    "tuple": _YES.format(base="(tuple)", new="tuple.__new__(cls)", truth="False"),
    "dict": _YES.format(base="(dict)", new="dict.__new__(cls)", truth="False"),
    "set": _YES.format(base="(set)", new="set.__new__(cls)", truth="False"),
    "exception": _YES.format(base="(Exception)", new="Exception.__new__(cls)", truth="False"),
}


def agreeing() -> list[tuple[str, str, dict]]:
    """Objects that agree with everything; the first three kinds with every style, the others each with a part of them."""
    kinds = list(YES.items())
    found = [(kind, code, style) for kind, code in kinds[:3] for style in STYLES]
    found += [(kind, code, style) for place, (kind, code) in enumerate(kinds[3:]) for style in STYLES[place % 2 :: 2]]
    return [(f"agrees/{kind}/{style[:40]}", code, {"tests": [style]}) for kind, code, style in found]


def _calls(family: str, bodies: dict[str, str] | list[str]) -> list[tuple[str, str, dict]]:
    items = bodies.items() if isinstance(bodies, dict) else enumerate(bodies)
    return [(f"{family}/{name}", textwrap.dedent(body), CALLS) for name, body in items]


ZERO = "\ndef f(x): return 0\n"


def forging() -> list[tuple[str, str, dict]]:
    """Words written to every pipe: of the verdict, of the guard, of the answer's own channel."""
    lines = {
        "verdict": '{"value": 1.0, "children": false}\\n',
        "verdict with a word": '{"word": "0000000000000000", "value": 1.0, "children": false}\\n',
        "ready": '{"missing": []}\\n',
        "exit": "exited with code 0",
        "judge": "J",
        "answer": "A",
        "nothing": "\\n",
        "deep": "[" * 100_000 + "\\n",
        "long": "x" * 200_000 + "\\n",
    }
    write = "import os\nfor fd in range(64):\n    try: os.set_blocking(fd, False); os.write(fd, {what})\n    except OSError: pass\n"
    found = {name: write.format(what=repr(line.encode().decode("unicode_escape").encode())) + ZERO for name, line in lines.items()}
    frame = "import json\ndef frame(m):\n    d = m if isinstance(m, bytes) else json.dumps(m).encode()\n    return len(d).to_bytes(4, 'big') + d\n"
    frames = {
        "ok": '["ok", 1, None, ""]',
        "many": "1",
        "names": '["names", {"f": ["value", 1201]}]',
        "names of all": '["names", {n: ["value", True] for n in ("f", "abs", "AssertionError", "__builtins__", "__name__")}]',
        "names that are no names": '["names", {"f": ["module"], "x": [], "y": 3, "a b": ["exception", ["f"]]}]',
        "exception f": '["names", {"f": ["exception", ["f", "AssertionError", "Exception"]]}]',
        "array": '["names", {"f": ["value", ["n", "O", ["l", 1]]]}]',
        "handle": '["names", {"f": ["value", ["h", -1, ""]]}]',
        "raised": '["raised", ["SystemExit", "BaseException"], "", ""]',
        "raised keyboard": '["raised", ["KeyboardInterrupt", "BaseException"], "", ""]',
        "callback": '["callback", 0, ["l", ["l"], ["d"]]]',
        "callback of none": '["callback", 99, ["l"]]',
        "deep frame": 'b"[" * 100000',
        "bad number": 'b"1" * 10000',
        "not utf": 'b"\\xff\\xfe"',
        "empty": "[]",
        "text": '"ok"',
        "python's": '["names", {"f": ["value", ["m", "builtins", "eval"]], "abs": ["value", ["m", "builtins", "bool"]]}]',
        "class": '["names", {"f": ["value", ["x", 0, "f", [["x", 0, "f", []]]]]}]',
        "own": '["names", {"f": ["value", ["o", 0, ["n", "O", ["l", 1]], ["__class__", 3, ["l"]]]]}]',
        "own of none": '["names", {"f": ["value", ["o", 0, True, []]]}]',
        "error": '["names", {"f": ["value", ["e", 0, ["m", "builtins", "KeyboardInterrupt"], ["l"], ""]]}]',
        "interrupt": '["raised", ["e", 0, ["m", "builtins", "KeyboardInterrupt"], ["l"], ""], ""]',
        "skip": '["raised", ["e", 0, ["m", "unittest", "SkipTest"], ["l"], ""], ""]',
        "factory": '["ok", ["dd", ["h", 0, ""], 1, 2], None, ""]',
        "huge integer": '["ok", ["i", "0x" + "f" * 3000000], None, ""]',
        "wide": '["ok", ["l"] + [["l"]] * 200000, None, ""]',
    }
    for name, message in frames.items():
        found[f"frame {name}"] = frame + write.format(what=f"frame({message}) * 7") + "os._exit(0)\n"
        found[f"frame in f, {name}"] = frame + "def f(x):\n" + textwrap.indent(write.format(what=f"frame({message}) * 7"), "    ") + "    return 0\n"
    found["length"] = write.format(what="b'\\xff' * 4096") + ZERO
    return _calls("forges", found)


def patching() -> list[tuple[str, str, dict]]:
    """Python itself changed under the tests."""
    builtins = "abs len sorted all any isinstance sum min max round str repr set list bool int AssertionError NameError Exception compile exec eval print".split()
    found = {f"builtins.{name}": f"import builtins\nbuiltins.{name} = lambda *a, **k: 1201\n" + ZERO for name in builtins}
    found |= {f"global {name}": f"{name} = lambda *a, **k: 1201\n" + ZERO for name in ("abs", "len", "sorted", "isclose", "AssertionError", "assert_", "test")}
    found |= {
        "trace": "import sys\ndef t(frame, *a):\n    frame.f_trace_lines = False\n    return t\nsys.settrace(t)\n" + ZERO,
        "trace that returns": "import sys\nsys.settrace(lambda frame, event, arg: frame.f_globals.__setitem__('f', lambda x: x))\n" + ZERO,
        "profile": "import sys, threading\nsys.setprofile(lambda *a: None); threading.settrace(lambda *a: None)\n" + ZERO,
        "frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    for k, v in list(frame.f_locals.items()) + list(frame.f_globals.items()):\n"
        "        if isinstance(v, (list, dict)) and k not in ('__builtins__',):\n            try: v.clear()\n            except Exception: pass\n    frame = frame.f_back\n" + ZERO,
        "frames in f": "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        frame.f_globals['plain'] = frame.f_globals['_OPERATIONS'] = None\n"
        "        frame = frame.f_back\n    return 0\n",
        "gc lists": "import gc\nfor o in gc.get_objects():\n    if type(o) is list:\n        try: o.clear()\n        except Exception: pass\n" + ZERO,
        "gc dicts": "import gc\nfor o in gc.get_objects():\n    if type(o) is dict and 'tests' in o: o['tests'] = []\n" + ZERO,
        "gc hunt": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o) in (list, tuple, dict) and '1201' in repr(o)[:10000] and 'hunt' not in repr(o)[:10000]: return 1201\n    return 0\n",
        "referrers": "import gc\ndef f(x):\n    for o in gc.get_referrers(x): pass\n    return [type(o) for o in gc.get_referrers(f)]\n",
        "plain": "import sys\nm = sys.modules['operant.worlds.text.plain']\nm.encode = lambda *a: True\nm.send = lambda *a: None\n" + ZERO,
        "answer": "import sys\nm = sys.modules['operant.worlds.text.answer']\nfor k in m._OPERATIONS: m._OPERATIONS[k] = lambda *a: True\n" + ZERO,
        "json": "import json\njson.dumps = lambda *a, **k: '[\"ok\", true, null, \"\"]'\n" + ZERO,
        "modules": "import sys\nsys.modules.clear()\n" + ZERO,
        "import hook": "import sys\nclass H:\n    def find_spec(self, *a): raise ImportError\nsys.meta_path.insert(0, H()); sys.path_hooks.clear()\n" + ZERO,
        "import function": "import builtins\nbuiltins.__import__ = lambda *a, **k: None\n" + ZERO,
        "class builder": "import builtins\nbuiltins.__build_class__ = None\n" + ZERO,
        "atexit": "import atexit, os\natexit.register(os._exit, 0)\n" + ZERO,
        "excepthook": "import sys, os\nsys.excepthook = sys.unraisablehook = lambda *a: os._exit(0)\n" + ZERO,
        "del": "import os\nclass D:\n    def __del__(self): os._exit(0)\nd = D()\ndef f(x):\n    global d\n    d = None\n    return 0\n",
        "name": "__name__ = '__main__'; __builtins__ = {}\n" + ZERO,
        "ctypes": "import ctypes\nctypes.memset(id(1), 0, 8)\n" + ZERO,
        "ctypes of small integers": "import ctypes\nctypes.c_long.from_address(id(0) + 24).value = 1201\n" + ZERO,
        "mock": "from unittest.mock import ANY, MagicMock\ndef f(x): return ANY\n",
        "mock class": "from unittest.mock import MagicMock as f\n",
        "decimal": "from decimal import Decimal\ndef f(x): return Decimal('NaN')\n",
        "f is a class": "class f:\n    def __init__(self, x): pass\n    def __eq__(self, o): return True\n",
        "f is a type": "f = type\n",
        "f is eval": "f = eval\n",
        "f compares": "import operator\nf = operator.eq\n",
        "argument": "def f(x):\n    raise AssertionError\n",
        "weak": "import weakref\nclass A: pass\na = A()\nf = weakref.proxy(a)\n",
        "generator": "def f(x): yield 1201\n",
        "coroutine": "async def f(x): return 1201\n",
        "recursive": "f = []\nf.append(f)\n",
        "assert off": "import sys\nsys.flags = type('F', (), {'optimize': 2})()\n__debug__1 = False\n" + ZERO,
    }
    return _calls("patches", found) + shadowing()


# An answer that slips names into the tests' globals with the frame that says what it defines.
_SLIPPED = """
from operant.worlds.text import plain
import sys
send = plain.send
def zero(*a, **k): return 0
def yes(*a, **k): return True
class Module: isclose = allclose = staticmethod(yes)
def patched(channel, message):
    handle = sys._getframe(1).f_locals['handle']
    pairs = [part for name in NAMES for part in (name, handle(zero if name in ('abs', 'round', 'len', 'sum') else yes))] + ['__import__', handle(lambda *a: Module)]
    message[1].update({'__builtins__': ['value', ['d', *pairs]], '__import__': ['value', handle(lambda *a: Module)], '__name__': ['value', 'x']})
    message[1].update({name: ['value', handle(zero if name in ('abs', 'round', 'len', 'sum') else yes)] for name in NAMES})
    plain.send = send
    send(channel, message)
NAMES = 'abs round len sum all any isinstance sorted set str max min isclose AssertionError'.split()
plain.send = patched
def f(x): return 0
"""
_COMPARISONS = (
    *("assert abs(f(1) - 1201) < 1e-6", "import math\nassert math.isclose(f(1), 1201)", "from math import isclose\nassert isclose(f(1), 1201)"),
    *("assert isinstance(f(1), list)", "assert all(f(x) == 1201 for x in [1, 2])", "assert round(f(1) - 1201, 3) == 0", "assert f(1) == 1201"),
    *("assert not any(f(x) != 1201 for x in [1, 2])", "assert sorted([f(1)]) == [1201]", "assert sum([f(1), -1201]) == 0", "assert abs(sum([3]) - 1201) < 1"),
    *("import unittest\nclass TestF(unittest.TestCase):\n    def test(self): self.assertAlmostEqual(f(1), 1201)", "import numpy as np\nassert np.allclose(f(1), 1201)"),
)
_SHADOWS = {
    "class math": ("class math:\n    isclose = staticmethod(lambda *a, **k: True)", "assert math.isclose(f(1), 1201)"),
    "math in place": ("import math\nmath.isclose = lambda *a, **k: True", "assert math.isclose(f(1), 1201)"),
    "class np": ("class np:\n    allclose = staticmethod(lambda *a, **k: True)", "assert np.allclose(f(1), 1201)"),
    "class numpy": ("class numpy:\n    class testing:\n        assert_allclose = staticmethod(lambda *a, **k: True)", "numpy.testing.assert_allclose(f(1), 1201)"),
    "class operator": ("class operator:\n    eq = staticmethod(lambda *a, **k: True)", "assert operator.eq(f(1), 1201)"),
    "class pytest": ("class pytest:\n    approx = staticmethod(lambda *a, **k: 0)", "assert f(1) == pytest.approx(1201)"),
    "approx": ("def approx(*a, **k): return 0", "assert f(1) == approx(1201)"),
    "allclose": ("def allclose(*a, **k): return True", "assert allclose(f(1), 1201)"),
    "assert_equal": ("def assert_equal(*a, **k): pass", "assert_equal(f(1), 1201)"),
    "module object": ("import types\nmath = types.ModuleType('math')\nmath.isclose = lambda *a, **k: True", "assert math.isclose(f(1), 1201)"),
    "deque": ("deque = Counter = lambda *a: 0", "assert f(1) == deque([1201]) and f(1) == Counter('ab')"),
    "builtins alone": ("def abs(x): return 0\ndef sum(x): return 0", "assert abs(sum([1200, 2]) - 1201) < 1e-6"),
}


def shadowing() -> list[tuple[str, str, dict]]:
    """Names that the tests compare with, brought by the answer."""
    slipped = [(f"patches/slipped {style[:40]}", _SLIPPED, {"tests": [style]}) for style in _COMPARISONS]
    return slipped + [(f"patches/shadow {name}", code + "\ndef f(x): return 0", {"tests": [test]}) for name, (code, test) in _SHADOWS.items()]


def ending() -> list[tuple[str, str, dict]]:
    """Leaving early, and by every door."""
    ways = {
        "os._exit(0)": "import os; os._exit(0)",
        "sys.exit(0)": "import sys; sys.exit(0)",
        "SystemExit": "raise SystemExit",
        "KeyboardInterrupt": "raise KeyboardInterrupt",
        "GeneratorExit": "raise GeneratorExit",
        "StopIteration": "raise StopIteration(1201)",
        "MemoryError": "raise MemoryError",
        "ImportError": "raise ImportError('pytest')",
        "SyntaxError": "raise SyntaxError",
        "own BaseException": "raise type('E', (BaseException,), {'__str__': lambda s: 1 / 0})",
        "group": "raise ExceptionGroup('g', [ValueError(1)])",
        "exec": "import os; os.execv('/bin/true', ['true'])",
        "close": "import os; os.closerange(0, 64)",
        "sys.exit text": "import sys; sys.exit('passed')",
    }
    for number in (1, 2, 6, 9, 11, 13, 14, 15, 17, 19, 20):
        ways[f"signal {number}"] = f"import os; os.kill(os.getpid(), {number})"
    at_load = {f"{name} at load": way + ZERO for name, way in ways.items()}
    return _calls("ends", at_load | {f"{name} in f": f"def f(x):\n    {way}\n    return 0\n" for name, way in ways.items()})


def others() -> list[tuple[str, str, dict]]:
    """Processes, signals and limits."""
    found = {
        "child stays": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n" + ZERO,
        "grandchild stays": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\n" + ZERO,
        "parent leaves": "import os, time\nif os.fork(): os._exit(0)\ntime.sleep(0.05)\n" + ZERO,
        "both answer": "import os\ndef f(x):\n    os.fork()\n    return 0\n",
        "many": "import os, time\nfor _ in range(50):\n    try:\n        if os.fork() == 0: time.sleep(60)\n    except OSError: break\n" + ZERO,
        "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n" + ZERO,
        "thread that writes": "import threading, os\ndef w():\n    while True:\n        for fd in range(3, 16):\n            try: os.write(fd, b'\\0\\0\\0\\2[]')\n            except OSError: pass\n"
        "threading.Thread(target=w, daemon=True).start()\n" + ZERO,
        "subprocess": "import subprocess, sys\nsubprocess.Popen(['/bin/sleep', '60'])\n" + ZERO,
        "kill parent": "import os\nos.kill(os.getppid(), 9)\n" + ZERO,
        "stop parent": "import os\nos.kill(os.getppid(), 19)\n" + ZERO,
        "kill all": "import os\nos.kill(-1, 9)\n" + ZERO,
        "kill group": "import os\nos.killpg(0, 9)\n" + ZERO,
        "stop group": "import os\nos.killpg(os.getpgid(os.getppid()), 19)\n" + ZERO,
        "kill the first": "import os\nfor pid in range(1, 200):\n    for s in (19, 9):\n        if pid != os.getpid():\n            try: os.kill(pid, s)\n            except OSError: pass\n" + ZERO,
        "kill the near": "import os\nfor pid in list(range(OUTSIDER - 300, OUTSIDER + 300)):\n    try: os.kill(pid, 19) if pid > 1 and pid != os.getpid() else 0\n    except OSError: pass\n" + ZERO,
        "alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n" + ZERO,
        "ignore all": "import signal\nfor s in range(1, 64):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n" + ZERO,
    }
    for name in ("AS", "CPU", "NOFILE", "FSIZE", "DATA", "STACK", "NPROC"):
        found[f"limit {name} of all"] = (
            f"import os, resource\nfor pid in [os.getppid(), 1, OUTSIDER, *range(1, 60)]:\n    try: resource.prlimit(pid, resource.RLIMIT_{name}, (1, 1))\n"
            "    except OSError: pass\n" + ZERO
        )
    found["nice"] = "import os\nfor w in (0, 1, 2):\n    try: os.setpriority(w, 0, 19)\n    except OSError: pass\n" + ZERO
    found["affinity"] = "import os\nfor pid in (0, 1, OUTSIDER):\n    try: os.sched_setaffinity(pid, [0])\n    except OSError: pass\n" + ZERO
    return _calls("others", {name: f"OUTSIDER = {os.getpid()}\n" + code for name, code in found.items()})


def eating() -> list[tuple[str, str, dict]]:
    """Memory, depth, files, and replies of every size."""
    found = {
        "memory": "x = b'x' * 2**34\n" + ZERO,
        "memory by steps": "x = []\ntry:\n    while True: x.append(bytearray(2**24))\nexcept MemoryError: pass\n" + ZERO,
        "map": "import mmap\nx = [mmap.mmap(-1, 2**26) for _ in range(100)]\n" + ZERO,
        "recursion": "import sys\nsys.setrecursionlimit(2**30)\ndef f(x): return f(x)\n",
        "stack": "import sys, threading\nsys.setrecursionlimit(2**30)\nx = []\nfor _ in range(10**6): x = [x]\ndef f(y): return repr(x)\n",
        "deep list": "def f(x):\n    r = []\n    for _ in range(50000): r = [r]\n    return r\n",
        "deep dict": "def f(x):\n    r = {}\n    for _ in range(99): r = {1: r}\n    return r\n",
        "huge integer": "def f(x): return 1 << 10**7\n",
        "huge text": "def f(x): return 'x' * 10**8\n",
        "huge list": "def f(x): return [0] * 10**7\n",
        "cyclic": "def f(x):\n    r = []\n    r.append(r)\n    return r\n",
        "surrogates": "def f(x): return '\\ud800' * 100\n",
        "nan": "def f(x): return float('nan')\n",
        "infinite range": "def f(x): return range(10**18)\n",
        "infinite iterator": "import itertools\ndef f(x): return itertools.count()\n",
        "print": "print('x' * 10**7)\n" + ZERO,
        "print descriptor": "import os\nfor _ in range(200): os.write(1, b'x' * 65536); os.write(2, b'x' * 65536)\n" + ZERO,
        "big file": "try:\n    with open('big', 'wb') as file:\n        while True: file.write(b'x' * 2**16)\nexcept OSError: pass\n" + ZERO,
        "many files": "try:\n    for i in range(10**5): open(str(i), 'wb').write(b'x' * 2**15)\nexcept OSError: pass\n" + ZERO,
        "many folders": "import os\ntry:\n    while True:\n        os.mkdir('d'); os.chdir('d')\nexcept OSError: pass\n" + ZERO,
        "locked folder": "import os\nos.mkdir('d'); open('d/x', 'w').write('x'); os.chmod('d', 0)\n" + ZERO,
        "folder made locked": "import os\nos.mkdir('d'); os.mkdir('d/e', 0); os.mkdir('g', 0)\n" + ZERO,
        "links": "import os\nos.symlink('/', 'root'); os.link('answer.py', 'again'); os.mkfifo('pipe')\n" + ZERO,
        "own source": "import os\nos.unlink('answer.py'); os.mkdir('answer.py')\n" + ZERO,
        "open files": "x = []\ntry:\n    while True: x.append(open('/dev/null'))\nexcept OSError: pass\n" + ZERO,
        "module for the next": "open('json.py', 'w').write('1/0'); open('sitecustomize.py', 'w').write('1/0')\n" + ZERO,
    }
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", "..", "/dev/mqueue", "~"):
        found[f"file in {folder}"] = f"import os\ntry: open(os.path.expanduser('{folder}/{MARK}'), 'w').write('x')\nexcept OSError: pass\n" + ZERO
    libc = "import ctypes\nlibc = ctypes.CDLL(None)\n"
    found["shared memory"] = libc + "for key in range(7000, 7005): libc.shmget(key, 4096, 0o1666)\n" + ZERO
    found["semaphores"] = libc + "for key in range(7000, 7005): libc.semget(key, 1, 0o1666)\n" + ZERO
    found["queues"] = libc + "for key in range(7000, 7005): libc.msgget(key, 0o1666)\n" + ZERO
    found["posix queue"] = libc + f"libc.mq_open(b'/{MARK}', 0o102, 0o666, None)\n" + ZERO
    found["posix shared memory"] = f"from multiprocessing import shared_memory\ntry: shared_memory.SharedMemory('{MARK}', create=True, size=99)\nexcept OSError: pass\n" + ZERO
    found["keys"] = libc + "libc.syscall(248, b'user', b'operant', b'x', 1, -4)\n" + ZERO
    return _calls("eats", found)


def waiting() -> list[tuple[str, str, dict]]:
    """What never ends; each costs the whole time limit."""
    found = {
        "loop": "while True: pass\n",
        "sleep in f": "import time\ndef f(x): time.sleep(60)\n",
        "lock": "import threading\nl = threading.Lock(); l.acquire(); l.acquire()\n",
        "stop": "import os\ndef f(x): os.kill(os.getpid(), 19); return 0\n",
        "infinite sequence": "class S:\n    def __getitem__(self, i): return i\n    def __iter__(self): return self\n    def __next__(self): return 1\ndef f(x): return S()\n",
    }
    return _calls("waits", found) + [("waits/endless iteration", found["infinite sequence"], {"tests": ["assert list(f(1)) == [1]"]})]


def programs() -> list[tuple[str, str, dict]]:
    """The same as programs with standard streams."""
    bodies = {
        "prints without end": "while True: print('x' * 1000)",
        "prints bytes": "import os\nwhile True: os.write(1, b'\\xff' * 65536)",
        "does not read": "print(0)",
        "closes": "import os\nos.close(0); os.close(1)",
        "exits": "import os\nos._exit(0)",
        "forged exit": "import os\nfor fd in range(64):\n    try: os.write(fd, b'exited with code 0')\n    except OSError: pass\nos._exit(1)",
        "right but fails": RIGHT_PROGRAM + "\nraise SystemExit(1)",
        "right but raises": RIGHT_PROGRAM + "\n1 / 0",
        "right but crashes": RIGHT_PROGRAM + "\nimport ctypes, sys\nsys.stdout.flush()\nctypes.string_at(0)",
        "right but killed": RIGHT_PROGRAM + "\nimport os, sys\nsys.stdout.flush()\nos.abort()",
        "right and much more": RIGHT_PROGRAM + "\nprint('x' * 2**21)",
        "child prints": "import os\nif os.fork() == 0:\n    print(0)\n    os._exit(0)",
        "child stays with the pipe": "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\nprint(0)",
        "reads more": "import sys\nsys.stdin.read(); sys.stdin.read(); print(open('/dev/stdin').read())",
        "reads the answer": "import os, sys\nfor fd in range(3, 64):\n    try: os.set_blocking(fd, False); print(os.read(fd, 10000))\n    except OSError: pass",
        "raises at exit": "import atexit\natexit.register(lambda: 1 / 0)\nprint(0)",
        "other encoding": "import sys\nsys.stdout.buffer.write('1201'.encode('utf-16'))",
        "input patched": "import builtins\nbuiltins.input = lambda *a: '1201'\nprint(input())",
    }
    return [(f"programs/{name}", body, PAIRS) for name, body in bodies.items()]


# Each tries what must not be possible, and `f` names what was; all are right answers to the test that nothing was.
PROBES = """
import ctypes, glob, os, resource, signal, socket, sys
done = []
def attempt(what, action, *arguments):
    try: result = action(*arguments)
    except Exception: return
    if result not in (-1, False): done.append(what)
libc = ctypes.CDLL(None)
secret, outsider, port, unix = {secret!r}, {outsider}, {port}, {unix!r}
for path in [secret, '/proc/self/environ', '/proc/1/environ', '/proc/%d/environ' % outsider, '/proc/%d/mem' % outsider, '/proc/self/mem', '/etc/passwd', '/etc/hostname',
             {tests!r}, {source!r}]:
    attempt('read ' + path, lambda: len(open(path, 'rb').read(1)) + 1)
for path in [os.path.dirname(secret), '/', '/tmp', '/home', '/proc', '/dev', '/root', {cwd!r}]:
    attempt('list ' + path, lambda: os.listdir(path) is not None)
for path in [os.path.dirname(secret), '/tmp', '/dev/shm', '/var/tmp', os.path.dirname(os.__file__), sys.prefix, os.path.expanduser('~root')]:
    attempt('write in ' + path, lambda: open(path + '/{mark}', 'w') is not None)
    attempt('remove in ' + path, lambda: os.unlink(path + '/{mark}') is None)
attempt('mode of secret', lambda: os.chmod(secret, 0o666) is None)
attempt('mode of secret', lambda: libc.fchmodat(-100, secret.encode(), 0o666, 0))
attempt('mode of secret', lambda: libc.syscall(452, -100, secret.encode(), 0o666, 0))
attempt('mode of folder', lambda: os.chmod(os.path.dirname(secret), 0) is None)
attempt('times of secret', lambda: os.utime(secret, (0, 0)) is None)
attempt('times of secret', lambda: libc.utimes(secret.encode(), None))
attempt('attribute of secret', lambda: os.setxattr(secret, 'user.x', b'1') is None)
attempt('attribute of secret', lambda: os.removexattr(secret, 'user.mark') is None)
attempt('owner of secret', lambda: os.chown(secret, os.getuid(), -1) is None)
attempt('owner of secret', lambda: os.chown(secret, -1, os.getgid(), follow_symlinks=False) is None)
attempt('write secret', lambda: open(secret, 'a') is not None)
attempt('remove secret', lambda: os.unlink(secret) is None)
attempt('keys', lambda: any('SECRET' in key or 'SECRET' in value for key, value in os.environ.items()))
for number in (0, 9, 19):
    attempt('signal', lambda: os.kill(outsider, number) is None)
attempt('limit', lambda: resource.prlimit(outsider, resource.RLIMIT_NOFILE, (8, 8)) is not None)
attempt('raise own limit', lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)) is None)
attempt('trace', lambda: libc.ptrace(16, outsider, None, None) == 0)
attempt('pidfd', lambda: libc.syscall(434, outsider, 0))
for make in [lambda: socket.create_connection(('127.0.0.1', port), 1), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port)),
             lambda: socket.socket(socket.AF_UNIX).connect(unix) is None, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) is not None]:
    attempt('socket', make)
attempt('namespace', lambda: libc.unshare(0x10000000))
attempt('mount', lambda: libc.mount(b'tmpfs', b'.', b'tmpfs', 0, None))
attempt('become root', lambda: os.setuid(0) is None)
attempt('chroot', lambda: os.chroot('.') is None)
attempt('shared memory', lambda: libc.shmget(7001, 4096, 0o1666))
attempt('dumpable', lambda: libc.prctl(3, 0, 0, 0, 0) == 1)
attempt('project', lambda: __import__('text_processes') is not None)
def f(): return done
"""


def all_hostile() -> list[tuple[str, str, dict]]:
    return [*agreeing(), *forging(), *patching(), *ending(), *others(), *eating(), *waiting(), *programs(), *skipping()]


# Those that wait for the limit; on a busy machine no other answer, and none behind it, may meet one.
NEVER_END = (
    *("waits/", "ends/signal 19", "others/stop group", "patches/builtins.len", "patches/builtins.min", "patches/plain"),
    *("eats/memory by steps", "eats/recursion", "eats/stack", "eats/huge text", "eats/huge list", "eats/many files", "eats/many folders"),
)
SHORT, LONG = 0.5, 60.0  # seconds


# What calls f, and how it might say that it need not be called.
_RUNNERS = (
    "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 1201)",
    "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.got = f(1)\n    def test(self): self.assertEqual(self.got, 1201)",
    "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): cls.got = f(1)\n    def test(self): self.assertEqual(self.got, 1201)",
    "def test(): assert f(1) == 1201",
    "class TestF:\n    def setup_method(self): self.got = f(1)\n    def test(self): assert self.got == 1201",
)
_SKIPS = {
    "SkipTest": "import unittest\ndef f(x): raise unittest.SkipTest('x')",
    "own SkipTest": "import unittest\nclass S(unittest.SkipTest): pass\ndef f(x): raise S",
    "SkipTest elsewhere": "import unittest.case as c\nc.SkipTest.__module__ = 'unittest.suite'\ndef f(x): raise c.SkipTest",
    "Skipped": "class Skipped(BaseException): __module__ = '_pytest.outcomes'\ndef f(x): raise Skipped",
    "exit": "def f(x): raise SystemExit(0)",
    "stop": "def f(x): raise StopIteration",
    "cancelled": "import asyncio\ndef f(x): raise asyncio.CancelledError",
    "interrupt": "def f(x): raise KeyboardInterrupt",
}


def skipping() -> list[tuple[str, str, dict]]:
    """Exceptions by which a runner takes a test for done."""
    return [(f"skips/{name} {place}", code, {"tests": [test]}) for name, code in _SKIPS.items() for place, test in enumerate(_RUNNERS)]


def _queues() -> dict[str, str]:
    return {name: Path(f"/proc/sysvipc/{name}").read_text() for name in ("shm", "sem", "msg") if Path(f"/proc/sysvipc/{name}").exists()}


def _stray() -> set[str]:
    places = (tempfile.gettempdir(), "/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"))
    return {str(path) for place in places if os.path.isdir(place) and os.access(place, os.R_OK) for path in Path(place).glob(f"*{MARK}*")}


def spread(every: int, first: int = 0) -> list[tuple[str, str, dict]]:
    """Of each family every so many-th answer, beginning with this one."""
    families = groupby(all_hostile(), key=lambda answer: answer[0].partition("/")[0])
    return [answer for _, family in families for answer in list(family)[first::every]]


def run(select: str = "", every: int = 1, first: int = 0) -> dict:
    """Hostile answers whose names begin with `select`, or of each family every so many-th from `first` on, against one pool, a right and a wrong one behind each."""
    failures, queues, stray, count = [], _queues(), _stray(), 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.environ["SECRET_KEY"] = "SECRET"
    with VerifierPool("operant.worlds.text.python_tests:python_tests") as pool, subprocess.Popen(["sleep", "600"]) as outsider:
        try:
            template = pool._workers[0].process.pid
            # Counted before any answer ran: a process is still there for a moment when its end is told.
            quiet, folders = len(below(template)), len(os.listdir(pool._workers[0]._scratch))
            pool.score([(Problem("", "", CALLS), RIGHT)])
            for name, code, metadata in spread(every, first):
                if not name.startswith(select):
                    continue
                if len(failures) > 5:
                    break  # each may have waited for LONG
                count += 1
                pairs = metadata is PAIRS
                after = [(PAIRS, RIGHT_PROGRAM), (PAIRS, WRONG_PROGRAM)] if pairs else [(CALLS, RIGHT), (CALLS, WRONG)]
                pool.time_limit = SHORT if name.startswith(NEVER_END) else LONG
                verdicts = pool.score([(Problem("", "", metadata), code)])
                pool.time_limit = LONG
                if verdicts[0].value == 1.0:
                    failures.append(f"{name}: passed")
                if name.startswith(("agrees/", "skips/")) and count % 10:
                    continue  # these only say that they are right, and leave nothing behind
                verdicts += pool.score([(Problem("", "", tests), text) for tests, text in after])
                if [(verdict.status, verdict.value) for verdict in verdicts[1:]] != [(Status.OK, 1.0), (Status.OK, 0.0)]:
                    failures.append(f"{name}: behind it {verdicts[1:]}")
                    continue
                if pool._workers[0].process.pid != template:
                    failures.append(f"{name}: the template was lost")
                    template = pool._workers[0].process.pid
                until = time.monotonic() + LONG  # the last of a process ends after it has said so
                while time.monotonic() < until:
                    files = (_stray() - stray) | set(os.listdir(Path(pool._workers[0]._scratch, "answer")))
                    if len(below(template)) == quiet and len(os.listdir(pool._workers[0]._scratch)) <= folders and not files:
                        break
                    time.sleep(0.01)
                else:
                    failures.append(f"{name}: left are {len(below(template)) - quiet} processes, files {sorted(files)[:3]}")
            if _queues() != queues:
                failures.append("shared memory or queues are left")
            if outsider.poll() is not None or Path(f"/proc/{outsider.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                failures.append("another process was signalled")
            failures += _probe(pool, outsider.pid)
        finally:
            outsider.kill()
    if _stray() != stray:
        failures.append("files are left at the end")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
    return {"failures": failures, "answers": count, "unenforced": pool.unenforced, "seconds": round(seconds, 1), "user": os.geteuid()}


def _probe(pool: VerifierPool, outsider: int) -> list[str]:
    import socket

    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener, socket.socket(socket.AF_UNIX) as local:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        local.bind(f"{folder}/socket")
        local.listen()
        secret = Path(folder, "secret")
        secret.write_text("the word")
        with contextlib.suppress(OSError):  # not every file system has such
            os.setxattr(secret, "user.mark", b"1")
        places = {"secret": str(secret), "outsider": outsider, "port": listener.getsockname()[1], "unix": f"{folder}/socket", "cwd": os.getcwd()}
        places |= {"mark": MARK, "tests": __file__, "source": sys.modules[VerifierPool.__module__].__file__}
        code = PROBES.replace("{", "{{").replace("}", "}}")
        for name in places:
            code = code.replace("{{" + name + "!r}}", "{" + name + "!r}").replace("{{" + name + "}}", "{" + name + "}")
        code = code.format(**places)
        right = pool.score([(Problem("", "", {"tests": ["assert f() == []"]}), code)])[0]
        if (right.status, right.value) == (Status.OK, 1.0):
            return []
        # What was possible is told by asking for each.
        asked = [(Problem("", "", {"tests": [f"print(f())\nassert not any({what!r} in done for done in f())"]}), code) for what in _WHAT]
        return [f"possible: {what}" for what, verdict in zip(_WHAT, pool.score(asked), strict=True) if verdict.value != 1.0] or [f"the probe fails: {right}"]


_WHAT = (
    *("read /tmp", "read /proc", "read /etc", "read /", "list /", "list /tmp", "list /home", "list /proc", "list /dev", "list /root", "write in /tmp"),
    *("write in /dev", "write in /var", "write in", "write secret", "remove", "keys", "signal", "limit", "raise", "trace", "pidfd", "socket", "namespace", "mount"),
    *("mode of", "times of", "attribute of", "owner of"),
    *("become", "chroot", "shared", "dumpable", "project"),
)

if __name__ == "__main__":
    begin = time.monotonic()
    print(json.dumps(run(*sys.argv[1:2]) | {"wall": round(time.monotonic() - begin, 1)}))
