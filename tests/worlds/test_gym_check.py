"""Environments that raise, hang or break the API: one line that names the environment, the row, the step and the rule."""

import re
import signal
import threading
import time

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from operant.core.errors import RunFailed
from operant.worlds.gym.adapter import GymnasiumEnvironments, make_environments
from operant.worlds.gym.check import time_limit
from operant.worlds.gym.examine import examine

FINE = np.zeros(2, np.float32)


def environment(*, reset=lambda: (FINE, {}), step=lambda count: (FINE, 0.0, False, False, {}), space=None, observed=None):
    """Rows of an environment that returns what the given functions return. Row 1 alone misbehaves; row 0 is sound."""
    made = []

    class Scripted(gymnasium.Env):
        observation_space = space or spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Discrete(2)

        def __init__(self):
            self.bad = len(made) == 1
            self.count = 0
            made.append(self)

        def reset(self, *, seed=None, options=None):
            return reset() if self.bad else (FINE if observed is None else observed, {})

        def step(self, action):
            self.count += 1
            return step(self.count) if self.bad else (FINE if observed is None else observed, 0.0, False, False, {})

    return GymnasiumEnvironments(Scripted, [1, 2], "Scripted-v0", start_seconds=0.2)


def fails(message, call):
    with pytest.raises(RunFailed, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "'Scripted-v0', row 1" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((FINE, 0.0, False, {}), r"step returns \(observation, reward, terminated, truncated, info\), with info a dict; got 4 values \(ndarray, f"),
        (FINE, "got one ndarray"),
        (None, "got one NoneType"),
        ((FINE, 0.0, False, False, None), r"with info a dict; got 5 values \(ndarray, float, bool, bool, NoneType\)"),
        ((np.zeros(3, np.float32), 0.0, False, False, {}), r"observation has shape \(3,\); its observation space says \(2,\)"),
        ((0.0, 0.0, False, False, {}), r"observation has shape \(\)"),
        ((np.array(["a", "b"]), 0.0, False, False, {}), "observation has type <U1; its observation space says float32"),
        ((np.array([None, None]), 0.0, False, False, {}), "observation has type object"),
        ((np.array([0.0, np.nan]), 0.0, False, False, {}), "observation element 1 is nan"),
        ((np.array([np.inf, 0.0]), 0.0, False, False, {}), r"observation element 0 is inf; every element is a finite number, at most 3.4e\+38 in size"),
        ((FINE, float("nan"), False, False, {}), "reward is nan; it is one finite number"),
        ((FINE, np.float32("inf"), False, False, {}), "reward is inf"),
        ((FINE, -1e300, False, False, {}), r"reward is -1e\+300; it is one finite number, at most 3.4e\+38 in size"),
        ((FINE, 10**5000, False, False, {}), "reward is inf; it is one finite number"),
        ((FINE, "1.0", False, False, {}), r"reward 1.0 \(str\) is not one number"),
        ((FINE, None, False, False, {}), r"reward None \(NoneType\) is not one number"),
        ((FINE, np.zeros(1), False, False, {}), r"reward \[0.\] \(ndarray\) is not one number"),
        ((FINE, 0.0, None, False, {}), r"terminated is None \(NoneType\); it is True or False"),
        ((FINE, 0.0, False, 0.5, {}), r"truncated is 0.5 \(float\)"),
        ((FINE, 0.0, [0, [1]], False, {}), r"terminated is \[0, \[1\]\] \(list\); it is True or False"),
    ],
)
def test_broken_step(result, message):
    environments = environment(step=lambda count: result if count == 3 else (FINE, 0.0, False, False, {}))
    environments.reset()
    for _ in range(2):
        environments.step(np.array([0, 1]))
    error = fails(message, lambda: environments.step(np.array([0, 1])))
    assert "after 2 steps: breaks the Gymnasium API" in str(error)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (FINE, r"reset returns \(observation, info\), with info a dict; got one ndarray"),
        ((FINE, 1.0), r"got 2 values \(ndarray, float\)"),
        ((np.zeros((2, 1)), {}), r"observation has shape \(2, 1\)"),
        ((np.array([np.nan, 0.0]), {}), "observation element 0 is nan"),
    ],
)
def test_broken_reset(result, message):
    fails(message, environment(reset=lambda: result).reset)


@pytest.mark.parametrize("value", [5, 1, 2.0, "2", np.array([2])])
def test_discrete_observation_outside_its_space(value):
    environments = environment(reset=lambda: (value, {}), space=spaces.Discrete(3, start=2), observed=2)
    fails("is not an integer from 2 to 4", environments.reset)


def test_floats_for_an_integer_space():
    environments = environment(reset=lambda: (np.full(2, 0.5), {}), space=spaces.Box(0, 255, (2,), np.uint8), observed=np.zeros(2, np.uint8))
    fails("observation has type float64; its observation space says uint8", environments.reset)


@pytest.mark.parametrize(
    ("space", "sound", "value", "message"),
    [
        (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2, np.uint8), np.array([0, 300]), "has numbers from 0 to 300; uint8 holds 0 to 255"),
        (spaces.Box(0, 15, (2,), np.uint8), np.array([3, 255]), np.array([-1, 0]), "has numbers from -1 to 0; uint8 holds 0 to 255"),
        (spaces.MultiBinary(2), np.array([True, False]), np.array([0, 2], np.int8), "has numbers from 0 to 2; MultiBinary holds 0 to 1"),
    ],
)
def test_numbers_that_are_no_bytes_or_bits(space, sound, value, message):
    """A store of bytes would wrap them around."""
    environment(reset=lambda: (sound, {}), space=space, observed=sound).reset()
    fails(message, environment(reset=lambda: (value, {}), space=space, observed=sound).reset)


@pytest.mark.parametrize(("space", "value"), [(spaces.Discrete(3, start=2), np.uint64(4)), (spaces.MultiDiscrete([2, 3]), np.array([1, 2], np.uint64))])
def test_choices_of_any_integer_type(space, value):
    seen = environment(reset=lambda: (value, {}), space=space, observed=value).reset()
    assert seen[1].tolist() == ([0, 0, 1] if space.shape == () else [0, 1, 0, 0, 1])


@pytest.mark.parametrize("flag", [True, np.True_, np.array(True)])
def test_sound_values_of_other_types_pass(flag):
    environments = environment(step=lambda count: (np.array([1, 0]), np.float64(2.5), flag, False, {}))
    environments.reset()
    step = environments.step(np.array([0, 1]))
    assert step.terminated.tolist() == [False, True]
    assert step.reward.tolist() == [0.0, 2.5]
    assert step.next_observation[1].tolist() == [1.0, 0.0]


def test_raises_in_step_1000():
    def step(count):
        if count == 1000:
            raise KeyError("the door\nis shut")
        return FINE, 0.0, False, False, {}

    environments = environment(step=step)
    environments.reset()

    def run():
        for _ in range(1000):
            environments.step(np.array([0, 1]))

    error = fails("row 1, after 999 steps: step raised KeyError: ", run)
    assert isinstance(error.__cause__, KeyError)


def test_raises_in_reset():
    def reset():
        raise ZeroDivisionError("no floor")

    fails("row 1, after 0 steps: reset raised ZeroDivisionError: no floor", environment(reset=reset).reset)


class Panic(BaseException):
    """As the libraries of other languages raise it."""


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit("shut"), Panic("index out of bounds")])
def test_whatever_is_raised_is_told(error):
    """A run does not end as if all were well where an environment exits."""

    def raises(*_):
        raise error

    told = f"raised {type(error).__name__}: {error}$"
    fails(f"row 1, after 0 steps: reset {told}", environment(reset=raises).reset)
    environments = environment(step=raises)
    environments.reset()
    fails(f"row 1, after 0 steps: step {told}", lambda: environments.step(np.array([0, 1])))
    with pytest.raises(RunFailed, match=f"making the environment {told}"):
        make_environments(raises, [0])
    environments.envs[1].close = raises
    with pytest.warns(RuntimeWarning, match=f"row 1: close {told}"):
        environments.close()
    assert re.search(f"step {told}", examine(lambda: environments.envs[1], steps=5).faults[0])


def test_a_person_stops_it_anywhere():
    def stops(*_):
        raise KeyboardInterrupt

    environments = environment(step=stops)
    environments.reset()
    with pytest.raises(KeyboardInterrupt):
        environments.step(np.array([0, 1]))


def test_raises_in_construction():
    made = []

    class Fragile(gymnasium.Env):
        observation_space = action_space = spaces.Discrete(2)

        def __init__(self):
            if made:
                raise OSError("model file is gone")
            made.append(self)
            self.closed = False

        def close(self):
            self.closed = True

    with pytest.raises(RunFailed, match="'Fragile-v0', row 1: making the environment raised OSError: model file is gone"):
        GymnasiumEnvironments(Fragile, [1, 2], "Fragile-v0")
    assert made[0].closed


def hang():
    """Waits in the way that is hardest to stop: an `except Exception` around a loop."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


def test_hanging_reset():
    started, before = time.monotonic(), signal.getsignal(signal.SIGALRM)
    fails("row 1, after 0 steps: reset took longer than 0.2 s", environment(reset=hang).reset)
    assert time.monotonic() - started < 5
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_hanging_construction():
    with pytest.raises(RunFailed, match="'Slow-v0', row 0: making the environment took longer than 0.1 s"):
        GymnasiumEnvironments(hang, [1], "Slow-v0", start_seconds=0.1)


def test_hanging_close():
    """What was done is done: it is told, and the next one is closed."""
    environments = environment()
    shut = []
    environments.envs[0].close, environments.envs[1].close = hang, lambda: shut.append(True)
    environments._start_seconds = 0.1
    with pytest.warns(RuntimeWarning, match="row 0: close took longer than 0.1 s$"):
        environments.close()
    assert shut == [True]


def test_time_limit_puts_an_earlier_alarm_back():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with time_limit(5.0, "thing"):
            time.sleep(0.01)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.3
        time.sleep(0.35)
        assert rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_works_off_the_main_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(environment().reset()))
    thread.start()
    thread.join()
    assert seen[0].shape == (2, 2)


def test_the_watch_is_put_away():
    """Environments that are closed leave nothing: no thread, and the alarm as it was."""
    before, threads = signal.getsignal(signal.SIGALRM), threading.active_count()
    environments = environment()
    environments.reset()
    environments.step(np.array([0, 1]))
    environments.close()
    assert signal.getsignal(signal.SIGALRM) == before and threading.active_count() <= threads
