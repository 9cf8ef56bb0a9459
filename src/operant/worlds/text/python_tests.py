"""The verifier `python-tests`: code that passes tests, or programs that print what is expected. The standard library alone is imported.

The answer runs in processes of its own (`running`), and what is expected never goes there. Tests run here, in the judge: where one calls a function of the
answer's, the arguments are sent over, and what comes back is plain data that is compared here.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import collections
import importlib
import inspect
import math
import socket
import sys
import types
import unittest
from typing import TYPE_CHECKING, Any

from operant.worlds.text import running
from operant.worlds.text.fences import read_code

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

MOST_PRINTED = 2**24  # bytes of a program's output

# Names that a test means Python's own by, also where an answer defines or imports them: what compares is nothing that an answer may bring.
_HELPERS = {"isclose": math.isclose, "fabs": math.fabs} | {name: getattr(collections, name) for name in ("Counter", "OrderedDict", "defaultdict", "deque")}
_PYTHONS = {**vars(builtins), **_HELPERS}
# What compares, of libraries that take a while to import.
_LIBRARY_HELPERS = {"approx": "pytest", "allclose": "numpy", "array_equal": "numpy"}
_LIBRARY_HELPERS |= {name: "numpy.testing" for name in ("assert_allclose", "assert_array_equal", "assert_array_almost_equal")}
_LIBRARY_HELPERS |= {name: "numpy.testing" for name in ("assert_equal", "assert_almost_equal")}
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
        used, made, called, self._attributes = set(), set(), set(), {}
        for place, source in enumerate(sources):
            try:
                tree = ast.parse(source)
                self._parts.append(compile(tree, f"<test {place}>", "exec", dont_inherit=True))
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
            called |= {node.id for part in tree.body if not isinstance(part, _DEFINITIONS) for node in ast.walk(part) if isinstance(node, ast.Name)}
            lonely = [node for node in tree.body if isinstance(node, ast.Assert) and not any(isinstance(part, ast.Name) for part in ast.walk(node.test))]
            if lonely:
                raise BadTests(f"test {place} asserts of nothing: {ast.unparse(lonely[0])[:60]!r}")
        self._called = called  # names that are used where the tests are read, outside of functions
        self._wanted = used - made  # names that the answer, or Python, must have
        self._checks = "check" in made and "check" not in called
        if self._checks and self._entry is None:
            raise BadTests('the tests define check(…) and do not call it, and metadata "entry_point" names no function')
        if not self._checks and not self._wanted:
            raise BadTests("the tests use nothing of the answer's")
        if not self._checks and self._entry not in self._wanted and self._wanted <= _PYTHONS.keys():
            # They are about a function that has the name of one of Python's.
            meant = sorted(name for name in self._wanted if not (isinstance(_PYTHONS[name], type) and issubclass(_PYTHONS[name], BaseException)))
            if len(meant) != 1:
                raise BadTests(f'the tests use nothing but what Python has itself ({", ".join(meant)}): metadata "entry_point" must name what is the answer\'s')
            self._entry = meant[0]
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
        except Exception:
            return False  # it does not load, or says what is no message
        try:
            return self._passed(module)
        finally:
            module.close()

    def _passed(self, module: running.Module) -> bool:
        names = self._names(module.names)
        space = types.ModuleType("tests")
        space.__dict__.update(names)
        sys.modules["tests"] = space
        try:
            for part in self._parts:
                exec(part, space.__dict__)
            self._call_functions(space.__dict__, module)
        except (BadTests, MemoryError):
            raise
        except running.CannotHandOver as error:
            raise BadTests(str(error)) from None
        except ImportError as error:
            if getattr(error, "of_answer", False):
                return False
            raise BadTests(f"the tests import what is not there: {error}") from None
        except SystemExit as error:
            if getattr(error, "of_answer", False):
                return False
            raise BadTests("the tests end by themselves, with SystemExit") from None
        except (KeyboardInterrupt, running.Exceeded):
            raise
        except BaseException:  # pytest's outcomes are no Exception
            return False
        touched = [names[name] for name in self._wanted & names.keys() if name in module.names]
        if not module.calls and not any(not isinstance(value, running.Handle | type) for value in touched):
            raise BadTests("the tests never call the answer")
        return True

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
        for name in self._wanted - own.keys():
            if name in _HELPERS and name in found:
                own[name] = _HELPERS[name]
            elif isinstance(found.get(name), running.ModuleName) and name in _MODULES:
                try:
                    own[name] = importlib.import_module(_MODULES[name])
                except ImportError:
                    continue
        return own

    def _call_functions(self, space: dict[str, Any], module: running.Module) -> None:
        """Call `check`, and the functions and classes of tests that nothing has called yet."""
        if self._checks:
            if self._entry not in module.names:
                raise NameError(self._entry)
            space["check"](module.names[self._entry])
        for name, value in list(space.items()):
            if name in self._called or isinstance(value, running.Handle):
                continue
            if isinstance(value, types.FunctionType) and name.startswith("test"):
                _call(value)
            elif isinstance(value, type) and value.__module__ == "tests" and issubclass(value, unittest.TestCase):
                result = _FirstFault()
                unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
                if result.fault is not None:
                    raise result.fault
            elif isinstance(value, type) and value.__module__ == "tests" and name.startswith("Test"):
                _call_class(value)


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


def _call_class(kind: type) -> None:
    """Call the tests of a class as pytest does: an instance for each, between what its class says comes before and after."""
    _once(kind, "setup_class")
    for name in [name for name in dir(kind) if name.startswith("test")]:
        instance = kind()
        test = getattr(instance, name)
        _once(instance, "setup_method", test)
        _call(test)
        _once(instance, "teardown_method", test)
    _once(kind, "teardown_class")


def _once(owner: Any, name: str, *given: Any) -> None:
    found = getattr(owner, name, None)
    if found is not None:
        found(*given[: len(inspect.signature(found).parameters)])


def _call(test: Any) -> None:
    """Call a test, with each of its sets of parameters; one that says that it is skipped is none."""
    marks = getattr(test, "pytestmark", [])
    if any(mark.name == "skip" or mark.name == "skipif" and mark.args and mark.args[0] for mark in marks):
        return
    sets: list[dict] = [{}]
    for mark in marks:
        if mark.name == "parametrize":
            names, values = mark.args[0], mark.args[1]
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            rows = [getattr(value, "values", None) if type(value).__name__ == "ParameterSet" else (value,) if len(names) == 1 else value for value in values]
            sets = [before | dict(zip(names, row, strict=True)) for row in rows for before in sets]
    parameters = inspect.signature(test).parameters.values()
    needed = {part.name for part in parameters if part.default is part.empty and part.kind is part.POSITIONAL_OR_KEYWORD}
    if missing := sorted(needed - set(sets[0] if sets else needed)):
        raise BadTests(f"{test.__name__} needs {', '.join(missing)}, which only pytest could give it")
    for given in sets:
        try:
            outcome = test(**given)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
        except unittest.SkipTest:
            continue
        except BaseException as error:
            if type(error).__module__ == "_pytest.outcomes" and type(error).__name__ == "Skipped":
                continue
            raise
