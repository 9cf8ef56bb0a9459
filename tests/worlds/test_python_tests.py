"""`python-tests`: what is right, what is wrong, and what says nothing of the answer because the tests cannot run."""

# ruff: noqa: E501 - a row of a table is a line

import subprocess
import sys

import pytest

from operant.core.status import Status
from operant.worlds.text.builtin_verifiers import make_verifier
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import VerifierPool, scorer


@pytest.fixture(scope="module")
def score():
    pool = scorer(make_verifier("python-tests"), time_limit=60.0)

    def score(tests, code, **metadata):
        verdict = pool.score([(Problem("?", "", {"tests": tests, **metadata}), code)])[0]
        return verdict.value if verdict.status == Status.OK else verdict.message

    yield score
    pool.close()


DOUBLE = "def f(x):\n    return 2 * x"
SQUARE = "def f(x):\n    return x * x"
HUMAN = "METADATA = {'author': 'x'}\n\ndef check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0\n"
POINT = "class Point:\n    def __init__(self, x, y): self.x, self.y = x, y\n    def __eq__(self, o): return (self.x, self.y) == (o.x, o.y)\n" + (
    "    def __add__(self, o): return Point(self.x + o.x, self.y + o.y)\n    def __mul__(self, k): return Point(k * self.x, k * self.y)\n"
    "    def __len__(self): return 2\n    def __iter__(self): return iter((self.x, self.y))\n    def __str__(self): return f'({self.x}, {self.y})'\n"
)


@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        (["assert f(3) == 6"], DOUBLE, SQUARE),
        (["assert f(3) == 6", "assert f(0) == 0"], DOUBLE, SQUARE),
        (["def test_f():\n    assert f(3) == 6"], DOUBLE, SQUARE),
        (["class TestF:\n    def test_one(self):\n        assert f(3) == 6"], DOUBLE, SQUARE),
        (["import unittest\nclass Tests(unittest.TestCase):\n    def setUp(self): self.want = 6\n    def test_one(self): self.assertEqual(f(3), self.want)"], DOUBLE, SQUARE),
        (["import pytest\n@pytest.mark.parametrize('x', [1])\ndef helper(x): pass\ndef test_f():\n    assert f(3) == pytest.approx(6)"], DOUBLE, SQUARE),
        (["assert abs(f(0.3) - 0.6) < 1e-9"], DOUBLE, SQUARE),
        (["for x, y in [(1, 2), (3, 6)]:\n    assert f(x) == y, f'{x}'"], DOUBLE, SQUARE),
        (["cases = [(3, 6)]", "assert all(f(x) == y for x, y in cases)"], DOUBLE, SQUARE),
        (["try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert 'below' in str(e)"], "def f(x): raise ValueError('below 0')", DOUBLE),
        (
            ["try:\n    f(-1)\n    raise AssertionError\nexcept Below:\n    pass"],
            "class Below(ValueError): pass\ndef f(x): raise Below(x)",
            "class Below(ValueError): pass\ndef f(x): raise ValueError(x)",
        ),
        (["x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]"], "def f(x): x.sort()", "def f(x): sorted(x)"),
        (["assert f([1, 2], key=lambda v: -v) == [2, 1]"], "def f(x, key): return sorted(x, key=key)", "def f(x, key): return x"),
        (["assert list(f(3)) == [0, 1, 2]"], "def f(n):\n    yield from range(n)", "def f(n):\n    yield n"),
        (["assert f(2)(3) == 5"], "def f(a): return lambda b: a + b", "def f(a): return lambda b: a * b"),
        (["p = Point(1, 2)\nassert p.x == 1 and p + Point(1, 1) == Point(2, 3) and str(p * 2) == '(2, 4)' and len(p) == 2 and list(p) == [1, 2]"], POINT, POINT.replace("k * self.y", "self.y")),
        (["p = Point(1, 2)\np.x = 5\nassert isinstance(p, Point) and p.x == 5 and not isinstance(3, Point)"], POINT, "def Point(x, y): return 3"),
        (["import math\nassert math.isclose(f(0.3), 0.6)"], DOUBLE, SQUARE),
        (["assert math.isclose(f(0.3), 0.6)"], "import math\n" + DOUBLE, "import math\n" + SQUARE),
        (["assert sum([1, 2]) == 3"], "def sum(xs):\n    return xs[0] + xs[1]", "def sum(xs):\n    return xs[0]"),
        (["import asyncio\nassert asyncio.run(f(3)) == 6"], "async def f(x):\n    return 2 * x", "async def f(x):\n    return x"),
        (["import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f(3)\nassert out.getvalue() == '6\\n'"], "def f(x): print(2 * x)", "def f(x): print(x)"),
        (["assert math.isclose(f(0.3), 0.6)"], DOUBLE, SQUARE),
        (["import math\nassert math.isclose(f(0.3), 0.6)"], "from math import isclose, pi as math\n" + DOUBLE, "import math\n" + SQUARE),
        (["queue.push(3)\nassert queue.items == [3]"], "class Q:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\nqueue = Q()", "import queue"),
        (["assert max([1]) == 2"], "def max(xs): return 2", "def max(xs): return xs[0]"),
        (["assert LIMIT == 5"], "LIMIT = 5", "LIMIT = 4"),
        (["assert f({'a': (1, {2})}) == {'a': [1, {2}]}"], "def f(d): return {'a': list(d['a'])}", "def f(d): return d"),
        (["from fractions import Fraction\nassert f(Fraction(1, 2)) == Fraction(1, 4)"], "def f(x): return x * x", "def f(x): return float(x)"),
        (["import math\nassert f(2000) == math.factorial(2000)"], "import math\nf = math.factorial", "def f(n): return n"),
        (["assert f(3) == Counter('aab')"], "from collections import Counter\ndef f(x): return {'a': 2, 'b': 1}", "from collections import Counter\ndef f(x): return {}"),
        ([["3\n", "6\n"], ["0\n", "0"]], "print(2 * int(input()))", "print(int(input()) ** 2)"),
        ([["3 4\n", 7]], "print(sum(map(int, open(0).read().split())))", "print(0)"),
        ([["", "__main__ True"]], "import sys\nprint(__name__, sys.modules['__main__'].__dict__ is globals())", "print('answer')"),
        ([["", "late"]], "import atexit\natexit.register(print, 'late')", "import atexit, os\natexit.register(print, 'late')\nos._exit(0)"),
        ([["", "1"]], "import threading\nthreading.Thread(target=lambda: print(1)).start()", "import threading"),
        ([["x" * 300_000, "300000"]], "print(len(input()))", "print(1)"),
        ([["", "1"]], "print(1)\nraise SystemExit(None)", "print(1)\nraise SystemExit(3)"),
        ([["", "1"]], "import multiprocessing as m\nif __name__ == '__main__':\n    p = m.get_context('fork').Process(target=print, args=(1,))\n    p.start(); p.join()", "pass"),
        ([["3\n", "6"], "assert f(3) == 6"], "def f(x): return 2 * x\nif __name__ == '__main__': print(f(int(input())))", DOUBLE),
    ],
)  # fmt: skip
def test_right_and_wrong(score, tests, right, wrong):
    assert score(tests, right) == 1.0
    assert score(tests, wrong) == 0.0
    assert score(tests, "") == 0.0 or "sum" in str(tests)  # which Python has itself: then the tests say nothing
    assert score(tests, "def f(x:") == 0.0


def test_the_check_of_an_entry_point(score):
    assert score([HUMAN], DOUBLE, entry_point="f") == 1.0
    assert score([HUMAN], SQUARE, entry_point="f") == 0.0
    assert score([HUMAN], "def g(x): return 2 * x", entry_point="f") == 0.0
    assert score([HUMAN + "\ncheck(f)"], DOUBLE) == 1.0
    assert "entry_point" in score([HUMAN], DOUBLE)


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (None, "no list"),
        ([], "no list"),
        ("assert f(3) == 6", "no list"),
        ([{"input": "3", "output": "6"}], "a pair"),
        ([5], "a pair"),
        ([None], "a pair"),
        ([["3\n"]], "a pair"),
        ([["3\n", "6\n", "7"]], "a pair"),
        ([[3, "6"]], "are texts"),
        ([["3", ["6"]]], "are texts"),
        ([["3", True]], "are texts"),
        (["assert f(3 == 6"], "no Python"),
        (["assert f(3) == 6", "def test_f(:"], "no Python"),
        (["from no_such_module import x\nassert f(3) == 6"], "import"),
        (["from math import no_such_name\nassert f(3) == 6"], "import"),
        (["f(3) == 6"], "asserts nothing"),
        (["assert True"], "asserts of nothing"),
        (["pass"], "is empty"),
        ([""], "is empty"),
        (["# nothing"], "is empty"),
        (["'text'"], "is empty"),
        (["x = 3"], "nothing of the answer"),
        (["def helper():\n    assert f(3) == 6"], "never call"),
        (["g = f"], "never call"),
        (["def test_f(tmp_path):\n    assert f(3) == 6"], "tmp_path"),
        (["class Own: pass\nassert f(Own()) == 6"], "cannot be handed"),
        (["import sys\nf(3)\nsys.exit(0)"], "SystemExit"),
        (["assert abs(sum([1, 2]) - 3) < 1"], "abs, sum"),
    ],
)
def test_tests_that_cannot_run_say_nothing_of_the_answer(score, tests, words):
    assert words in str(score(tests, DOUBLE))


def test_answers_see_neither_the_tests_nor_each_other(score):
    spy = "import gc, sys\ndef f(x):\n    held = repr([o for o in gc.get_objects() if type(o) in (str, bytes, dict, list, tuple)][:100000])\n    return ''.join(['forty', '-two']) in held"
    assert score(["assert f('forty-two') is True"], spy) == 1.0  # what it is given it sees: the search finds what there is
    assert score(["want = 'forty-two'\nassert f(1) is False"], spy) == 1.0
    assert score(["assert f(1) == 1"], "import builtins\nbuiltins.mark = 1\ndef f(x): return x") == 1.0
    assert score(["assert f(1) is False"], "import builtins\ndef f(x): return hasattr(builtins, 'mark')") == 1.0


def test_an_entry_point_may_have_a_name_of_pythons(score):
    assert score(["assert abs(sum([1, 2]) - 3) < 1"], "def sum(xs): return 3\ndef abs(x): return 9", entry_point="sum") == 1.0
    assert score(["assert abs(sum([1, 2]) - 3) < 1"], "def sum(xs): return 9\ndef abs(x): return 0", entry_point="sum") == 0.0


def test_the_order_of_sets_is_the_same_in_every_run():
    code = "def f(): return list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})"
    orders = set()
    for _ in range(2):
        with VerifierPool("operant.worlds.text.python_tests:python_tests") as pool:
            orders.add(pool.score([(Problem("?", "", {"tests": ["raise ImportError(f())"]}), code)])[0].message)
    assert len(orders) == 1 and "'h'" in orders.pop()


def test_a_trainer_may_have_many_open_files():
    program = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))\nheld = [open('/dev/null') for _ in range(1100)]\n"
        "from operant.worlds.text.tasks import Problem\nfrom operant.worlds.text.verifiers import VerifierPool\n"
        "with VerifierPool('operant.worlds.text.python_tests:python_tests') as pool:\n"
        "    for code, pool.time_limit in (('print(\"a b\")', 60.0), ('while True: pass', 0.5), ('print(\"a b\")', 60.0)):\n"
        "        verdict = pool.score([(Problem('p', '', {'tests': [['', 'a b']]}), code)])[0]\n"
        "        print(verdict.status.name, verdict.value)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["OK", "1.0", "TIMEOUT", "nan", "OK", "1.0"], done.stderr
