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
        (["g = f"], "assert nothing"),
        (["print(f(3))"], "assert nothing"),
        (["r = f(3) == 6"], "assert nothing"),
        (["def test_f():\n    f(3) == 6"], "assert nothing"),
        (["def check(candidate):\n    return candidate(3) == 6\ncheck(f)"], "assert nothing"),
        (["for x in []:\n    assert f(x) == 6\nf(3)"], "assert nothing"),
        (["import pytest\n@pytest.mark.skip\ndef test_f(): assert f(3) == 5\nf(3)"], "assert nothing"),
        (["try:\n    f(object())\nexcept TypeError:\n    pass\nassert f(3) == 6"], "cannot be handed"),
        (["import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        with self.assertRaises(TypeError): f(object())"], "cannot be handed"),
        (["def test_f(tmp_path):\n    assert f(3) == 6"], "tmp_path"),
        (["class Own: pass\nassert f(Own()) == 6"], "cannot be handed"),
        (["class Own(f): pass\nassert Own()"], "derive a class"),
        (["import sys\nassert f(3) == 6\nsys.exit(0)"], "SystemExit"),
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


POINTS = "from collections import namedtuple\nP = namedtuple('P', 'x y')\n"
COLOR = "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    BLUE = 2\ndef f(x): return Color.{}\n"
LEVEL = "from enum import IntEnum\nclass Level(IntEnum):\n    LOW = {}\n    HIGH = 9\ndef f(x): return Level.LOW\n"
STACK = "class Stack(list):\n    def push(self, x): self.{}(x)\n    @property\n    def top(self): return self[-1]\n"
VECTOR = "class V(tuple):\n    def __add__(self, o): return V(a + b for a, b in zip(self, o))\n    def __mul__(self, k): return V({} * a for a in self)\n"
BANK = (
    "class BankError(ValueError): pass\nclass Poor(BankError):\n    code = 7\n    def __init__(self, short):\n        super().__init__(f'short of {short}')\n        self.short = short\n"
    "def f(x): raise Poor(x + 1)\n"
)
UNIT = "import unittest\nclass T(unittest.TestCase):\n"


@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        (["c = f('aab')\nassert c.most_common(1) == [('a', 2)] and c['z'] == 0 and c == {'a': 2, 'b': 1}"], "from collections import Counter as f", "f = dict.fromkeys"),
        (["d = f(3)\nassert list(d) == [2, 1, 0] and d == {0: 0, 1: 1, 2: 4}\nd.move_to_end(2)"], "from collections import OrderedDict\ndef f(n): return OrderedDict((i, i * i) for i in reversed(range(n)))", "def f(n): return {i: i * i for i in range(n)}"),
        (["d = f('aab')\nassert d['a'] == 2 and d['c'] == 0 and dict(d) == {'a': 2, 'b': 1, 'c': 0}"], "from collections import defaultdict\ndef f(t):\n    d = defaultdict(int)\n    for c in t: d[c] += 1\n    return d", "def f(t): return {'a': 2, 'b': 1, 'c': 1}"),
        (["from collections import defaultdict\nassert f(defaultdict(list)) == [1]\nassert f(defaultdict(lambda: [])) == [1]"], "def f(d): return d['k'] + [1]", "def f(d): return d['k']"),
        (["p = f(1)\nassert p.x == 1 and p == (1, 2) and p._asdict() == {'x': 1, 'y': 2} and isinstance(p, P) and isinstance(p, tuple)"], POINTS + "def f(x): return P(x, 2)", POINTS + "def f(x): return P(x, 3)"),
        (["assert P(1, 2)._replace(x=5) == P(5, 2) and P._fields == ('x', 'y') and str(P(1, 2)) == 'P(x=1, y=2)'\na, b = P(3, 4)\nassert f(P(3, 4)) == 3"], POINTS + "def f(p): return p.x", POINTS + "def f(p): return p.y"),
        (["from collections import namedtuple\nQ = namedtuple('Q', 'a b')\nassert f([Q(1, 2)]) == Q(2, 1)"], "def f(q): return q[0]._replace(a=q[0].b, b=q[0].a)", "def f(q): return q[0]"),
        (["assert f(1) == Color.RED and f(1) is Color.RED and f(1).name == 'RED' and f(1).value == 1 and len(Color) == 2 and Color['RED'] in {Color.RED: 5}"], COLOR.format("RED"), COLOR.format("BLUE")),
        (["assert f(1) == 3 and f(1) < Level.HIGH and f(1).name == 'LOW' and f(1) is Level.LOW and Level(9) is Level.HIGH and [lv.value for lv in Level] == [3, 9]"], LEVEL.format(3), LEVEL.format(2)),
        (["s = Stack()\ns.push(3)\ns.append(4)\ns += [5]\nassert s == [3, 4, 5] and s.top == 5 and s.pop() == 5 and len(s) == 2 and sorted(s) == [3, 4] and s[0] == 3"], STACK.format("append"), STACK.format("extend")),
        (["assert V((1, 2)) + V((3, 4)) == V((4, 6)) and V((1, 2)) * 3 == V((3, 6))"], VECTOR.format("k"), VECTOR.format("2")),
        (["d = D()\nd['A'] = 1\nassert d['a'] == 1 and list(d) == ['a']"], "class D(dict):\n    def __setitem__(self, k, v): super().__setitem__(k.lower(), v)", "class D(dict): pass"),
        (["assert f('ab').shout() == 'AB!' and f('ab') == 'ab' and f('ab').startswith('a') and f('ab') + 'c' == 'abc'"], "class f(str):\n    def shout(self): return self.upper() + '!'", "class f(str):\n    def shout(self): return self"),
        (["p = f(1)\nassert p.x == 1 and p == P(1, 2) and repr(p) == 'P(x=1, y=2)' and p != P(1, 3)"], "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\n    y: int\ndef f(x): return P(x, 2)", "def P(x, y): return (x, y)\ndef f(x): return P(x, 2)"),
        (["import unittest\nwith unittest.TestCase().assertRaises(ValueError) as told:\n    f(4)\nassert str(told.exception) == 'short of 5' and told.exception.short == 5 and told.exception.code == 7"], BANK, BANK.replace("x + 1", "x")),
        (["try:\n    f(4)\n    assert False\nexcept BankError as e:\n    assert isinstance(e, Poor) and e.args == ('short of 5',)"], BANK, "class BankError(Exception): pass\nclass Poor(BankError): pass\ndef f(x): raise BankError"),
        (["import pytest\nwith pytest.raises(Poor, match='short of 5') as told:\n    f(4)\nassert told.value.short == 5\nassert Poor(2).short == 2 and Poor.code == 7"], BANK, "class Poor(Exception): pass\ndef f(x): return x"),
        (["import json, pytest\nwith pytest.raises(json.JSONDecodeError): f('x')"], "import json\nf = json.loads", "def f(x): raise ValueError"),
        (["import pytest\nwith pytest.raises(SystemExit) as told: f(3)\nassert told.value.code == 3"], "import sys\nf = sys.exit", "import sys\ndef f(x): sys.exit(0)"),
        (["assert isinstance(f(), KeyError) and f().args == ('k',)"], "def f(): return KeyError('k')", "def f(): return 'k'"),
        (["assert f(3) is int and f('a') == str"], "def f(x): return type(x)", "def f(x): return object"),
        (["assert f(3, int) is True and f(3, (str, float)) is False"], "def f(x, kinds): return isinstance(x, kinds)", "def f(x, kinds): return True"),
        (["assert f({'a': 1}) == {'a': 1}.keys() and sorted(g({'a': 1})) == [1]"], "def f(d): return d.keys()\ndef g(d): return d.values()", "def f(d): return d.values()\ndef g(d): return d.values()"),
        (["from decimal import Decimal\nfrom datetime import date, timedelta\nassert f(Decimal('0.1')) == Decimal('0.2') and g(date(2024, 2, 28)) == date(2024, 2, 29)"], "from datetime import timedelta\ndef f(x): return x + x\ndef g(d): return d + timedelta(1)", "def f(x): return float(x + x)\ndef g(d): return d"),
        (["assert f(iter([1, 2])) == 3 and f(x for x in [1, 2]) == 3"], "def f(x): return sum(x)", "def f(x): return 3 - sum(x)"),
        (["c = f('aab')\nc.update('b')\nassert c.most_common(1) == [('a', 2)] and c.total() == 4 and c['z'] == 0 and c.half() == 2"], "from collections import Counter\nclass f(Counter):\n    def half(self): return self.total() // 2", "from collections import Counter as f"),
        (["d = f()\nassert d == {'a': 1} and d['a'] == 1"], "from collections import UserDict\ndef f(): return UserDict(a=1)", "def f(): return {'a': 2}"),
        (["try: f('no-such-file')\nexcept OSError as e: assert e.errno == 2 and e.filename == 'no-such-file'\nelse: assert False"], "f = open", "def f(x): raise OSError(x)"),
        (["try: f(1)\nexcept ValueError as e: assert isinstance(e.__cause__, KeyError)\nelse: assert False"], "def f(x):\n    try: {}[x]\n    except KeyError as e: raise ValueError('v') from e", "def f(x): raise ValueError('v')"),
        (["import copy\np = P(1)\nq = copy.deepcopy(p)\nq.x = 9\nassert p.x == 1 and q.x == 9 and P.__doc__ == 'one'"], "class P:\n    'one'\n    def __init__(self, x): self.x = x", "class P:\n    'one'\n    def __init__(self, x): self.x = x\n    def __deepcopy__(self, memo): return self"),
        (["s = S()\nassert s[1:3] == [1, 2] and list(reversed(s)) == [2, 1, 0]"], "class S:\n    def __getitem__(self, i): return [0, 1, 2][i]\n    def __len__(self): return 3", "class S:\n    def __getitem__(self, i): return [0, 1, 2][i]\n    def __len__(self): return 2"),
        ([UNIT + "    @classmethod\n    def setUpClass(cls): cls.want = 6\n    def setUp(self): self.x = 3\n    def test(self): self.assertEqual(f(self.x), self.want)\n    @unittest.skip('later')\n    def test_later(self): self.fail()\n    def tearDown(self): del self.x"], DOUBLE, SQUARE),
        ([UNIT + "    def test(self):\n        for x in (0, 2, 3):\n            with self.subTest(x=x): self.assertEqual(f(x), 2 * x)"], DOUBLE, SQUARE),
        (["class TestF:\n    def setup_method(self): self.x = 3\n    def test(self): assert f(self.x) == 6"], DOUBLE, SQUARE),
        (["import pytest\n@pytest.mark.parametrize('x, y', [(0, 0), pytest.param(3, 6)])\ndef test_f(x, y): assert f(x) == y\n@pytest.mark.skip\ndef test_later(): assert False"], DOUBLE, SQUARE),
    ],
)  # fmt: skip
def test_types_that_answers_define(score, tests, right, wrong):
    assert score(tests, right) == 1.0
    assert score(tests, wrong) == 0.0


B = "class B:\n    def __init__(self, v): self.v = v\n    def {}: {}"


@pytest.mark.parametrize(
    ("tests", "code", "value"),
    [
        ("import pytest\nassert V(1).x == 1\nwith pytest.raises(TypeError): V(1) + 'x'", "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V({})", ("3", "self.x + o")),
        ("assert callable(f(1))", "def f(x): return {}", ("object()", "print")),
        ("assert hasattr(S(), '__iter__')", "class S:\n    {}", ("x = 1", "def __iter__(self): return iter(())")),
        ("from collections.abc import Iterator\nassert isinstance(f(1), Iterator)", "def f(x): return {}", ("object()", "iter([1])")),
        ("import pytest\nwith pytest.raises(TypeError): len(f(1))", "class L:\n    def __{}__(self): return 1\ndef f(x): return L()", ("len", "abs")),
        ("import pytest\nwith pytest.raises(TypeError): f(1) < 3", "class L:\n    def __lt__(self, o): {}\ndef f(x): return L()", (None, "raise TypeError")),
        ("import pytest\nwith pytest.raises(TypeError): {f(1)}", "class L:\n    __{}__ = None\ndef f(x): return L()", ("len", "hash")),
        ("assert f(1).__add__('x') is NotImplemented", "class L:\n    def __add__(self, o): return {}\ndef f(x): return L()", ("self", "NotImplemented")),
    ],
)  # fmt: skip
def test_an_object_claims_what_it_has(score, tests, code, value):
    wrong, right = value
    assert score([tests], code.format(right)) == 1.0
    if wrong is not None:
        assert score([tests], code.format(wrong)) == 0.0


@pytest.mark.parametrize("tests", ["f(1) < 3", "f(1) >= 3", "not f(1) < 3", "3 in f(1)"])
def test_an_object_does_not_compare_itself_with_plain_data(score, tests):
    yes = "class Yes:\n    def __lt__(self, o): return o is not None\n    __ge__ = __gt__ = __lt__\n    def __contains__(self, o): return True\ndef f(x): return Yes()"
    assert "the tests" in score([f"assert {tests}"], yes)
    assert "the tests" in score([f"try: {tests}\nexcept BaseException: pass\nassert f"], yes)


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        ("a = b = B(1)\nb += B(2)\nassert a.v == 3 and a is b", B.format("__iadd__(self, o)", "self.v += o.v; return self")),
        ("a = b = B(1)\nb += 2\nassert a.v == 3 and a is b", B.format("__iadd__(self, o)", "self.v += o; return self")),
        ("assert (B(1) << 3).v == 8 and (B(1) << B(3)).v == 8", B.format("__lshift__(self, o)", "return B(self.v << getattr(o, 'v', o))")),
        ("assert (~B(1)).v == -2", B.format("__invert__(self)", "return B(~self.v)")),
        ("assert (+B(1)).v == 1", B.format("__pos__(self)", "return B(self.v)")),
        ("assert divmod(B(7), B(2))[0].v == 3", B.format("__divmod__(self, o)", "return B(self.v // o.v), B(0)")),
        ("import math\nassert math.floor(B(1.5)) == 1", B.format("__floor__(self)", "return int(self.v)")),
        ("assert [10, 20][B(1)] == 20", B.format("__index__(self)", "return self.v")),
        ("b = B(1)\ndel b.v\nassert not hasattr(b, 'v')", B.format("x(self)", "pass")),
        ("import asyncio\nasync def main(): return [x async for x in f(3)]\nassert asyncio.run(main()) == [0, 1, 2]", "async def f(n):\n    for i in range(n): yield i"),
        ("import asyncio\nasync def main():\n    async with B(3) as b: return b.v\nassert asyncio.run(main()) == 3", B.format("x(self)", "pass") + "\n    async def __aenter__(self): return self\n    async def __aexit__(self, *_): pass"),
        ("g = f(1)\nassert next(g) == 1 and g.send(5) == 5", "def f(x):\n    y = yield x\n    yield y"),
    ],
)  # fmt: skip
def test_what_objects_do(score, tests, code):
    assert score([tests], code) == 1.0
    assert score([tests.replace("==", "!=").replace("not has", "has")], code) == 0.0


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        ("xs = [3, 1]\nf(nums=xs)\nassert xs == [1, 3]", "def f(nums): nums.sort()"),
        ("row = [3, 1]\ng = [row]\nf(g)\nassert row == [1, 3] and g == [[1, 3]] and g[0] is row", "def f(g): g[0].sort()"),
        ("row = [3, 1]\nf((row, {'a': row}))\nassert row == [1, 3]", "def f(t): t[0].sort()"),
        ("import numpy as np\na = np.array([1.0, 2.0])\nf(a)\nassert a[0] == 2", "def f(a): a *= 2"),
        ("import numpy as np\nassert (f() == np.array(['a', 'b'])).all() and f(2).shape == (0, 3) and f(3).dtype == np.float32 and f(3) == 1.5", "import numpy as np\ndef f(x=1): return np.array(['a', 'b']) if x == 1 else np.zeros((0, 3)) if x == 2 else np.float32(1.5)"),
        ("import uuid, array\nfrom pathlib import Path\nassert f() == [uuid.UUID(int=1), Path('a/b'), array.array('i', [1]), ...]", "import uuid, array\nfrom pathlib import Path\ndef f(): return [uuid.UUID(int=1), Path('a') / 'b', array.array('i', [1]), ...]"),
        ("assert f.__annotations__ == {'x': int} and f.__defaults__ == (1,)", "def f(x: int = 1): pass"),
        ("@f\ndef g(x):\n    'doc'\n    return x\nassert g(2) == 2 and g.__name__ == 'g' and g.__doc__ == 'doc'", "import functools\ndef f(h):\n    @functools.wraps(h)\n    def w(x): return h(x)\n    return w"),
        ("class Own(Exception): pass\ndef g(): raise Own('a')\ntry:\n    f(g)\n    assert False\nexcept Own as e: assert e.args == ('a',)", "def f(g): return g()"),
        ("import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stderr(out): f()\nassert out.getvalue() == 'no\\n'", "import sys\ndef f(): print('no', file=sys.stderr)"),
        ("import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): f()\nassert len(out.getvalue()) == 100000", "def f(): print('x' * 100000, end='')"),
    ],
)  # fmt: skip
def test_what_crosses(score, tests, code):
    assert score([tests], code) == 1.0
    assert score([tests.replace("==", "!=")], code) == 0.0


def test_a_limit_is_known_from_the_system(score):
    for code in ("import sys; sys.exit(217)", "import os; os._exit(217)", "raise MemoryError"):
        assert score([["", "1"]], code) == 0.0
    for code in ("def f(x): raise MemoryError", "raise MemoryError", "def f(x): return len(bytearray(2**33))"):
        assert score(["assert f(1) == 1"], code) == 0.0
        assert score(["try: assert f(1) == 1\nexcept BaseException: pass\nassert f"], code) == 0.0


CASE = UNIT + "    def test(self): self.assertEqual(f(3), 6)\n"
TWO = "def test_a(): assert f(3) == 6\ndef test_b(): assert f(0) == 0\n"


@pytest.mark.parametrize(
    "tests",
    [
        CASE + "unittest.TextTestRunner().run(unittest.TestLoader().loadTestsFromTestCase(T))",
        CASE + "suite = unittest.TestSuite()\nsuite.addTest(T('test'))\nunittest.TextTestRunner().run(suite)",
        CASE + "result = unittest.TestResult()\nunittest.defaultTestLoader.loadTestsFromTestCase(T).run(result)\nassert result.testsRun == 1",
        CASE + "unittest.main(argv=['x'], exit=False)",
        CASE + "if __name__ == '__main__':\n    unittest.main()",
        CASE + "KINDS = [T]",
        TWO + "if __name__ == '__main__':\n    test_a()",
        TWO + "ALL = [test_a, test_b]\ntest_b()",
        TWO + "for test in [test_a, test_b]:\n    try: test()\n    except AssertionError: print('failed')",
        "try:\n    assert f(3) == 6\nexcept AssertionError:\n    print('failed')\nassert f(0) == 0",
        "def check(candidate): assert candidate(3) == 6\nCHECKS = [check]\nfor each in CHECKS: each(f)",
        "assert f(0) == 0\nclass TestOuter:\n    class TestInner:\n        def test(self): assert f(3) == 6",
        "def setup_module():\n    global got\n    got = f(3)\ndef test(): assert got == 6",
        "import pytest\n@pytest.mark.skip\nclass TestA:\n    def test(self): assert False\n@pytest.mark.xfail\ndef test_x(): assert f(3) == 5\ndef test_y(): assert f(3) == 6",
        UNIT + "    def test(self): self.assertEqual(f(3), 6)\n    @unittest.expectedFailure\n    def test_known(self): assert f(3) == 7",
        "if f(3) != 6: raise AssertionError('no')",
        "match f(3):\n    case 6: pass\n    case _: raise AssertionError",
    ],
)  # fmt: skip
def test_what_pytest_would_collect_runs_and_counts(score, tests):
    assert score([tests], DOUBLE) == 1.0
    assert score([tests], SQUARE) == 0.0


# An object that agrees with everything.
YES = (
    "class Yes:\n    def __sub__(self, o): return self\n    __rsub__ = __add__ = __mul__ = __truediv__ = __sub__\n    def __str__(self): return '{0}'\n    __repr__ = __str__\n"
    "    def __format__(self, how): return '0.000'\n    def __iter__(self): return iter(({1}))\n    real = 0\n    def any(self): return False\ndef f(x): return Yes()"
)


@pytest.mark.parametrize(
    "tests",
    [
        *("f'{f(3) - 6:.3f}' == '0.000'", "str(f(3) - 6) == '0'", "repr(6 - f(3)) == '0'", "f'{f(3) - 6}' == '0'", "not any(f(3) - 6)", "list(f(3) - 6) == []"),
        *("str(f(3) - 6) in ('0', '[0 0]')", "all(x == 0 for x in f(3) - 6)", "(f(3) - 6).real == 0", "not (f(3) - 6).any()", "sum(f(3) - 6) == 0"),
    ],
)  # fmt: skip
def test_an_object_made_from_what_is_expected_says_nothing(score, tests):
    for code in (YES.format("0", ""), YES.format("[0 0]", "0, 0")):
        assert score([f"assert {tests}"], code) != 1.0


def test_no_name_of_the_answer_stands_for_an_expected_value(score):
    for name, value in (("Fraction", "Fraction(1, 2)"), ("Decimal", "Decimal('0.5')"), ("date", "date(2024, 1, 1)"), ("sqrt", "sqrt(16)"), ("array", "array([1, 2])")):
        code = f"def {name}(*given): return 0\ndef f(x): return 0"
        assert score([f"assert f(1) == {value}"], code) != 1.0, name
    assert score(["assert f(1) == Fraction(1, 2)"], "from fractions import Fraction\ndef f(x): return Fraction(x, 2)") == 1.0
    assert score(["assert gcd(12, 8) == 4"], "def gcd(a, b):\n    while b: a, b = b, a % b\n    return a") == 1.0


@pytest.mark.parametrize(
    ("tests", "code"),
    [
        (["assert len(f(2**25)) == 2**25"], "def f(n): return b'x' * n"),
        (["try:\n    assert f(10**7)\nexcept Exception:\n    pass"], "def f(n): return 'x' * n * 2"),
        (["assert f(1) == 1"], "held = ['x' * 2**25]\ndef f(x): return x"),
        (["assert f(1) == 1"], "def f(x):\n    held = []\n    while True: held.append('x' * 2**20)"),
        (["assert f(1) == 1"], "held = []\nwhile True: held.append('x' * 2**20)"),
        ([UNIT + "    def test(self): self.assertRaises(Exception, f, 1)"], "def f(x):\n    held = 'x'\n    while True: held += held"),
        ([["", "1"]], "print('x' * 2**25)"),
        ([["", "1"]], "held = []\nwhile True: held.append('x' * 2**20)"),
    ],
)
def test_what_exceeds_a_limit_is_not_wrong(score, tests, code):
    assert "exceeded" in score(tests, code)


def test_a_million_numbers_come_over(score):
    assert score(["assert f(10**6) == list(range(10**6))"], "held = [0] * 10**6\ndef f(n): return list(range(n))") == 1.0
    assert score([["", "x" * 2**21]], "print('x' * 2**21)") == 1.0
    assert "bytes" in score(["f('x' * 2**25)\nassert f"], "def f(x): return x")
