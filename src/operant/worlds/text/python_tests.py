"""The verifier `python-tests`: code that passes tests, or programs that print what is expected. The standard library alone is imported.

The answer runs in processes of its own (`running`), and what is expected never goes there. Tests run here, in the judge: where one calls a function of the
answer's, the arguments are sent over, and what comes back is plain data that is compared here.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import collections
import contextlib
import datetime
import decimal
import fractions
import importlib
import inspect
import math
import socket
import sys
import types
import unittest
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from operant.worlds.text import running
from operant.worlds.text.fences import read_code

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

MOST_PRINTED = 2**24  # bytes of a program's output

# Names that a test means Python's own by, also where an answer defines or imports them: what compares is nothing that an answer may bring.
_HELPERS = {"isclose": math.isclose, "fabs": math.fabs} | {name: getattr(collections, name) for name in ("Counter", "OrderedDict", "defaultdict", "deque")}
_PYTHONS = {**vars(builtins), **_HELPERS}
# Names that expected values are written with; a test of nothing else may be about a function that is called so.
_VALUES = {name: getattr(math, name) for name in ("sqrt", "floor", "ceil", "gcd", "isnan", "pi", "inf", "nan")}
_VALUES |= {kind.__name__: kind for kind in (fractions.Fraction, decimal.Decimal, uuid.UUID)}
_VALUES |= {kind.__name__: kind for kind in (datetime.date, datetime.datetime, datetime.timedelta, datetime.timezone)}
# What compares, of libraries that take a while to import.
_LIBRARY_HELPERS = {"approx": "pytest", "allclose": "numpy", "array_equal": "numpy"}
_LIBRARY_HELPERS |= {name: "numpy.testing" for name in ("assert_allclose", "assert_array_equal", "assert_array_almost_equal")}
_LIBRARY_HELPERS |= {name: "numpy.testing" for name in ("assert_equal", "assert_almost_equal")}
_LIBRARY_HELPERS |= {"array": "numpy", "DataFrame": "pandas", "Series": "pandas"}
_MODULES = {"np": "numpy", "pd": "pandas"} | {name: name for name in (*sys.stdlib_module_names, "numpy", "pandas", "pytest")}


class BadTests(ValueError):
    """The row's tests cannot run, whatever the answer is."""


def python_tests(problem: Problem, completion: str, door: socket.socket) -> float:
    """1.0 where the completion's code passes every test of metadata "tests", else 0.0.

    Tests are Python source (`assert f(2) == 4`, functions `test_…`, or a function `check(candidate)`, which is called with what metadata "entry_point" names),
    or pairs [input, output] of a program that reads standard input.

    Args:
        door: where processes that run answers are asked for.

    Raises:
        BadTests: the tests cannot run.
        OverflowError: the answer needs more memory, or prints or hands over more, than it may.
    """
    try:
        return _passes(problem, completion, door)
    except running.Exceeded as error:
        raise OverflowError(str(error)) from None


def _passes(problem: Problem, completion: str, door: socket.socket) -> float:
    tests = problem.metadata.get("tests")
    pairs, sources = _sorted(tests)
    written = Written(sources, problem.metadata.get("entry_point")) if sources else None
    code = read_code(completion)
    try:
        compile(code, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0.0
    if written is not None and not written.passed_by(code, door):
        return 0.0
    for given, wanted in pairs:
        printed, good = running.run_program(door, code, given, MOST_PRINTED)
        if not good or printed.decode(errors="replace").split() != wanted.split():
            return 0.0
    return 1.0


python_tests.runs_answers = True


def _sorted(tests: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs and the sources among the tests of a row."""
    if not isinstance(tests, list) or not tests:
        raise BadTests('the problem has no list of "tests" in its metadata')
    pairs, sources = [], []
    for place, test in enumerate(tests):
        if isinstance(test, str):
            sources.append(test)
            continue
        if not isinstance(test, list | tuple) or len(test) != 2:
            raise BadTests(f"test {place} is {str(test)[:60]!r}; a test is Python source, or a pair [input, output]")
        given, wanted = test
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            wanted = str(wanted)
        if not isinstance(given, str) or not isinstance(wanted, str):
            raise BadTests(f"test {place}: input and output of a pair are texts, not {type(given).__name__} and {type(wanted).__name__}")
        pairs.append((given, wanted))
    return pairs, sources


class Written:
    """Tests that are Python source, read but not run.

    Raises:
        BadTests: they are no Python, or never call anything.
    """

    def __init__(self, sources: list[str], entry_point: Any):
        self._parts, self._entry = [], entry_point if isinstance(entry_point, str) else None
        self._watched = Watched()
        used, made, called, self._attributes = set(), set(), set(), {}
        for place, source in enumerate(sources):
            try:
                tree = ast.parse(source)
                compile(tree, f"<test {place}>", "exec", dont_inherit=True)  # which finds what parsing does not
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise BadTests(f"test {place} is no Python: {type(error).__name__}: {error}") from None
            for node in tree.body:
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
                    raise BadTests(f"test {place} compares and asserts nothing: {ast.unparse(node)[:60]!r}; write assert")
            if all(_is_text(node) or isinstance(node, ast.Pass) for node in tree.body):
                raise BadTests(f"test {place} is empty")
            for node in ast.walk(tree):
                if isinstance(node, ast.Name):
                    (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    self._attributes.setdefault(node.value.id, set()).add(node.attr)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    made.add(node.name)
                elif isinstance(node, ast.arg):
                    made.add(node.arg)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    made |= {(name.asname or name.name).partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ExceptHandler) and node.name:
                    made.add(node.name)
                elif isinstance(node, ast.keyword) and node.arg == "autouse":
                    raise BadTests(f"test {place} has a fixture that is used by itself, which only pytest could give it")
            called |= {node.id for part in tree.body if not isinstance(part, _DEFINITIONS) for node in ast.walk(part) if isinstance(node, ast.Name)}
            lonely = [node for node in tree.body if isinstance(node, ast.Assert) and not any(isinstance(part, ast.Name) for part in ast.walk(node.test))]
            if lonely:
                raise BadTests(f"test {place} asserts of nothing: {ast.unparse(lonely[0])[:60]!r}")
            self._parts.append(compile(self._watched.watching(tree), f"<test {place}>", "exec", dont_inherit=True))
        self._wanted = used - made  # names that the answer, or Python, must have
        self._checks = "check" in self._watched.functions
        if self._checks and "check" not in called and self._entry is None:
            raise BadTests('the tests define check(…) and do not call it, and metadata "entry_point" names no function')
        if not self._checks and not self._wanted:
            raise BadTests("the tests use nothing of the answer's")
        if not self._checks and self._entry not in self._wanted and self._wanted <= _PYTHONS.keys():
            # They are about a function that has the name of one of Python's.
            meant = sorted(name for name in self._wanted if not (isinstance(_PYTHONS[name], type) and issubclass(_PYTHONS[name], BaseException)))
            if len(meant) != 1:
                raise BadTests(f'the tests use nothing but what Python has itself ({", ".join(meant)}): metadata "entry_point" must name what is the answer\'s')
            self._entry = meant[0]
        if not self._watched.asserts:
            raise BadTests("the tests assert nothing, whatever the answer gives")
        if not self._wanted <= _PYTHONS.keys() | _VALUES.keys():  # else one of these may be what they test
            self._values = _VALUES
        else:
            self._values = {}
        self._modules = self._real_modules()

    def _real_modules(self) -> dict[str, types.ModuleType]:
        """The modules that the tests use without an import (`math.isclose`): never the answer's, which could say that all is equal.

        A name is a module's where the module has all that the tests ask of it; else it is that of an object which happens to be called so (`queue.push`).
        """
        found = {}
        for name in self._wanted & _MODULES.keys() & self._attributes.keys() - {self._entry}:
            try:
                module = importlib.import_module(_MODULES[name])
            except ImportError:
                if name in sys.stdlib_module_names:  # of another platform
                    continue
                raise BadTests(f"the tests use {name}, which is not there") from None
            if all(hasattr(module, attribute) for attribute in self._attributes[name]):
                found[name] = module
        return found

    def passed_by(self, code: str, door: socket.socket) -> bool:
        """Whether an answer passes."""
        try:
            module = running.Module(door, code)
        except MemoryError:
            raise
        except (Exception, running.Refused):
            return False  # it does not load, or says what is no message
        try:
            return self._passed(module)
        finally:
            module.close()

    def _passed(self, module: running.Module) -> bool:
        names = self._names(module.names)
        space = types.ModuleType("tests")
        space.__dict__.update(names | self._watched.names())
        space.__file__ = "tests.py"
        sys.modules["tests"] = space
        try:
            with _collected_later(self._watched):
                for part in self._parts:
                    exec(part, space.__dict__)
                self._call_functions(space, module)
        except (BadTests, MemoryError):
            raise
        except BaseException as error:  # pytest's outcomes are no Exception
            if module.ended is None:
                return self._failed(error)
        if isinstance(module.ended, running.CannotHandOver):
            raise BadTests(str(module.ended))
        if module.ended is not None:  # also where the tests went on
            raise module.ended
        if module.refused or self._watched.faults:
            return False
        touched = [names[name] for name in self._wanted & names.keys() if name in module.names]
        if not module.calls and not any(not isinstance(value, running.Handle | type) for value in touched):
            raise BadTests("the tests never call the answer")
        if not self._watched.asserted:
            raise BadTests("the tests assert nothing of what the answer gives")
        return True

    @staticmethod
    def _failed(error: BaseException) -> bool:
        """Whether what ended the tests means that the answer passes, which it never does; some of it means nothing of the answer."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        if not getattr(error, "of_answer", False):
            if isinstance(error, ImportError):
                raise BadTests(f"the tests import what is not there: {error}") from None
            if isinstance(error, SystemExit):
                raise BadTests("the tests end by themselves, with SystemExit") from None
        return False

    def _names(self, found: dict[str, Any]) -> dict[str, Any]:
        """What the tests see of an answer: its names, but for those that Python has itself, unless one is the entry point."""
        mine = {name: value for name, value in found.items() if not isinstance(value, running.ModuleName)}
        own = {name: value for name, value in mine.items() if name not in _PYTHONS or name == self._entry}
        own |= self._modules
        for name in self._wanted & _LIBRARY_HELPERS.keys() & found.keys() - {self._entry}:
            try:
                own[name] = getattr(importlib.import_module(_LIBRARY_HELPERS[name]), name)
            except ImportError:
                raise BadTests(f"the tests use {name} of {_LIBRARY_HELPERS[name]}, which is not there") from None
        own |= {name: self._values[name] for name in self._wanted & self._values.keys() & found.keys() - {self._entry}}
        for name in self._wanted - own.keys():
            if name in _HELPERS and name in found:
                own[name] = _HELPERS[name]
            elif isinstance(found.get(name), running.ModuleName) and name in _MODULES:
                try:
                    own[name] = importlib.import_module(_MODULES[name])
                except ImportError:
                    continue
        return own

    def _call_functions(self, tests: types.ModuleType, module: running.Module) -> None:
        """Call `check`, and the functions and classes of tests that have not run yet: all that pytest would collect."""
        space = tests.__dict__
        if self._checks and not self._watched.has_run("check"):
            if self._entry is None:
                raise BadTests('the tests define check(…) and do not call it, and metadata "entry_point" names no function')
            if self._entry not in module.names:
                raise NameError(self._entry)
            space["check"](module.names[self._entry])
        if _skipped(_marks(tests)):
            return
        for name in ("setup_module", "setUpModule"):
            _once(tests, name, tests)
        for name, value in list(space.items()):
            if isinstance(value, running.Handle):
                continue
            if name.startswith("test") and callable(value) and not isinstance(value, type) and name in self._watched.functions:
                if not self._watched.has_run(name) or _sets(_marks(value)) != [{}]:
                    _once(tests, "setup_function", value)
                    _call(value)
                    _once(tests, "teardown_function", value)
            elif isinstance(value, type) and value.__module__ == "tests" and issubclass(value, unittest.TestCase):
                suite = unittest.defaultTestLoader.loadTestsFromTestCase(value)
                waiting = [case for case in suite if (value, case._testMethodName) not in self._watched.cases]
                result = _FirstFault()
                unittest.TestSuite(waiting).run(result)
                if result.fault is not None:
                    raise result.fault
            elif isinstance(value, type) and value.__module__ == "tests" and name.startswith("Test"):
                _call_class(value)
        for name in ("teardown_module", "tearDownModule"):
            _once(tests, name, tests)


class Watched:
    """What of the tests has run, and what of it was not true, whatever they make of that (print it, count it, leave a runner's result)."""

    def __init__(self) -> None:
        self.functions: set[str] = set()  # of the outermost level, whose calls are seen
        self.asserts = False  # somewhere
        self.asserted = False  # when they ran
        self.faults: list[BaseException] = []
        self.cases: set[tuple[type, str]] = set()
        self._ran: set[str] = set()

    def has_run(self, name: str) -> bool:
        return name in self._ran

    def watching(self, tree: ast.Module) -> ast.Module:
        """The tree, with calls of `names` where something is asserted and where functions of tests are entered."""
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.name.startswith("test") or node.name == "check"):
                self.functions.add(node.name)
                self._watch_calls(node)
        watcher = _Watcher()
        tree = ast.fix_missing_locations(watcher.visit(tree))
        self.asserts |= watcher.found
        return tree

    @staticmethod
    def _watch_calls(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        running_it = ast.withitem(ast.Call(ast.Name("__running__", ast.Load()), [ast.Constant(node.name)], []))
        text = 1 if _is_text(node.body[0]) else 0
        body = node.body[text:] or [ast.Pass()]
        node.body = [*node.body[:text], ast.With([running_it], body)]

    def names(self) -> dict[str, Any]:
        """What a watched tree calls."""
        return {"__running__": self._running, "__holds__": self._holds, "__asserts__": self._asserts}

    @contextlib.contextmanager
    def _running(self, name: str) -> Iterator[None]:
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:
            if not _is_skip(error):
                self.faults.append(error)
            raise
        self._ran.add(name)

    def _holds(self, value: Any) -> bool:
        self.asserted = True
        if value:
            return True
        self.faults.append(AssertionError())
        return False

    def _asserts(self) -> None:
        self.asserted = True


class _Watcher(ast.NodeTransformer):
    found = False

    def visit_Assert(self, node: ast.Assert) -> ast.AST:  # noqa: N802 - ast's names
        if isinstance(node.test, ast.Constant) and node.test.value:
            return node  # which asserts nothing
        self.generic_visit(node)
        self.found = True
        node.test = ast.Call(ast.Name("__holds__", ast.Load()), [node.test], [])
        return node

    def visit_If(self, node: ast.If | ast.Try | ast.Match) -> Any:  # noqa: N802
        """A branch in which a test would fail is an assertion also where it is not taken."""
        fails = any(_fails(part) for part in ast.walk(node))
        self.generic_visit(node)
        if not fails:
            return node
        self.found = True
        return [ast.Expr(ast.Call(ast.Name("__asserts__", ast.Load()), [], [])), node]

    visit_Try = visit_TryStar = visit_Match = visit_If  # noqa: N815

    def visit_Raise(self, node: ast.Raise) -> ast.AST:  # noqa: N802
        self.found = True
        return self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        pattern, node.pattern = node.pattern, ast.MatchAs()  # in which nothing is called
        self.generic_visit(node)
        node.pattern = pattern
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._name(node, node.attr)

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        return self._name(node, node.id)

    def _name(self, node: Any, name: str) -> ast.AST:
        if not isinstance(node.ctx, ast.Load) or not (name.startswith("assert") or name in ("raises", "warns", "fail")):
            return node
        self.found = True
        return ast.BoolOp(ast.Or(), [ast.Call(ast.Name("__asserts__", ast.Load()), [], []), node])


def _fails(node: ast.AST) -> bool:
    """Whether a test that comes here has failed."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and not node.test.value
    return isinstance(node, ast.Raise) or getattr(node, "attr", None) == "fail"


@contextlib.contextmanager
def _collected_later(watched: Watched) -> Iterator[None]:
    """While tests run: a runner that they start themselves is seen, and one that would look for them finds that they are called afterwards."""
    run, main = unittest.TestCase.run, unittest.main

    def seen(case: unittest.TestCase, result: Any = None) -> Any:
        if isinstance(result, _FirstFault):
            expected, before = getattr(getattr(case, case._testMethodName), "__unittest_expecting_failure__", False), len(watched.faults)
            outcome = run(case, result)
            if expected or getattr(case, "__unittest_expecting_failure__", False):
                del watched.faults[before:]
            return outcome
        mine = _FirstFault()
        seen(case, mine)
        watched.cases.add((type(case), case._testMethodName))
        if mine.fault is not None:
            watched.faults.append(mine.fault)
        if result is not None:
            result.testsRun += 1
            if mine.fault is not None:
                result.failures.append((case, str(mine.fault)))
        return result if result is not None else mine

    unittest.TestCase.run = seen
    unittest.main = lambda *_, **__: None
    try:
        yield
    finally:
        unittest.TestCase.run, unittest.main = run, main


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class _FirstFault(unittest.TestResult):
    """Keeps the first exception that is a fault, whatever it is, and ends there."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: BaseException | None = None

    def addError(self, test, error):  # noqa: N802 - unittest's name
        self.fault = self.fault or error[1]
        self.stop()

    addFailure = addError  # noqa: N815

    def addSubTest(self, test, subtest, error):  # noqa: N802
        if error is not None:
            self.addError(subtest, error)

    def addUnexpectedSuccess(self, test):  # noqa: N802
        self.addError(test, (None, AssertionError("it was expected to fail"), None))


def _call_class(kind: type, marks: tuple = ()) -> None:
    """Call the tests of a class as pytest does: an instance for each, between what its class says comes before and after."""
    marks = (*marks, *_marks(kind))
    if _skipped(marks):
        return
    _once(kind, "setup_class")
    for name in [name for name in dir(kind) if name.startswith("test")]:
        instance = kind()
        test = getattr(instance, name)
        _once(instance, "setup_method", test)
        _call(test, marks)
        _once(instance, "teardown_method", test)
    _once(kind, "teardown_class")
    for name, value in list(vars(kind).items()):
        if isinstance(value, type) and name.startswith("Test"):
            _call_class(value, marks)


def _once(owner: Any, name: str, *given: Any) -> None:
    found = getattr(owner, name, None)
    if found is not None:
        found(*given[: len(inspect.signature(found).parameters)])


def _marks(owner: Any) -> list:
    marks = vars(owner).get("pytestmark", []) if isinstance(owner, type) else getattr(owner, "pytestmark", [])
    return [getattr(mark, "mark", mark) for mark in (marks if isinstance(marks, list | tuple) else [marks])]


def _skipped(marks: Any) -> bool:
    """Whether what is so marked does not run; what is expected to fail says nothing either way."""
    return any(mark.name in ("skip", "xfail") or mark.name == "skipif" and mark.args and mark.args[0] for mark in marks)


def _is_skip(error: BaseException) -> bool:
    """Whether a test says by this that it is none."""
    return isinstance(error, unittest.SkipTest) or type(error).__module__ == "_pytest.outcomes" and type(error).__name__ in ("Skipped", "XFailed")


def _sets(marks: Any) -> list[dict]:
    """The sets of parameters that marks give."""
    sets: list[dict] = [{}]
    for mark in marks:
        if mark.name == "parametrize":
            names, values = mark.args[0], mark.args[1]
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            rows = [getattr(value, "values", None) if type(value).__name__ == "ParameterSet" else (value,) if len(names) == 1 else value for value in values]
            sets = [before | dict(zip(names, row, strict=True)) for row in rows for before in sets]
    return sets


def _call(test: Any, around: tuple = ()) -> None:
    """Call a test, with each of its sets of parameters; one that says that it is skipped is none."""
    marks = (*around, *_marks(test))
    if _skipped(marks):
        return
    sets = _sets(marks)
    parameters = inspect.signature(test).parameters.values()
    needed = {part.name for part in parameters if part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD}
    if missing := sorted(needed - set(sets[0] if sets else needed)):
        raise BadTests(f"{test.__name__} needs {', '.join(missing)}, which only pytest could give it")
    for given in sets:
        try:
            outcome = test(**given)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
        except BaseException as error:
            if not _is_skip(error):
                raise
