"""Training on another device than the CPU: no operation takes tensors of two, and the numbers are the CPU's."""

import gymnasium
import numpy as np
import pytest
import torch
from battery import TOTAL, Case, battery_seeds, shorten, worlds
from gymnasium import spaces
from other_device import other_device

from operant.worlds import make_world

CPU = torch.device("cpu")


def trained(case: Case, device: torch.device):
    """A learner after two iterations."""
    world = case.world()
    learner = shorten(case.spine()).learner(world, battery_seeds(world), TOTAL, device)
    for _ in range(2):
        learner.iterate()
    return learner


def weights(learner) -> dict[str, torch.Tensor]:
    """Of its policy; none where it has no weights."""
    return learner.policy.state_dict() if isinstance(learner.policy, torch.nn.Module) else {}


@worlds(lambda case: case.kind != "preferences")  # whose pairs a model makes first; the loop trains on sequences too
def test_tensors_stay_together_on_another_device(case, firm, monkeypatch):
    with other_device(monkeypatch) as device:
        learner = trained(case, device)
        found = {name: x.cpu() for name, x in weights(learner).items()}
    wanted = weights(trained(case, CPU))
    assert found.keys() == wanted.keys()
    for name, x in found.items():  # packed rows of language models are computed by kernels of the CPU's own
        torch.testing.assert_close(x, wanted[name], rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


class Masked(gymnasium.Env):
    """Numbers and a mask of two choices, of which the mask leaves three pairs."""

    observation_space = spaces.Dict(x=spaces.Box(-1, 1, (3,), np.float32), action_mask=spaces.MultiBinary(5))
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"x": self.np_random.uniform(-1, 1, 3).astype(np.float32), "action_mask": np.array([1, 1, 1, 0, 1], np.int8)}, {}

    def step(self, action):
        return self.reset()[0], float(action[0]), bool(self.np_random.integers(2)), False, {}


class MaskedOne(Masked):
    observation_space = spaces.Dict(x=spaces.Box(-1, 1, (3,), np.float32), action_mask=spaces.MultiBinary(2))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        seen, info = super().reset(seed=seed)
        return seen | {"action_mask": seen["action_mask"][:2]}, info

    def step(self, action):
        return super().step([action])


@pytest.mark.parametrize(
    "key, environment, options", [("ppo", Masked, {"normalize_observation": True}), ("dqn", MaskedOne, {}), ("dqn", "gym:bit-flip", {"hindsight": 4})]
)
def test_masks_statistics_and_goals_are_where_the_policy_is(key, environment, options, monkeypatch):
    def weights_of(device: torch.device) -> dict[str, torch.Tensor]:
        learner = shorten(Case(key, "gym:CartPole-v1").spine(**options)).learner(make_world(environment), (0, 1), TOTAL, device)
        learner.iterate()
        return {name: x.cpu() for name, x in weights(learner).items()}

    with other_device(monkeypatch) as device:
        found = weights_of(device)
    for name, x in weights_of(CPU).items():
        torch.testing.assert_close(found[name], x, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_two_devices_do_not_mix(monkeypatch):
    with other_device(monkeypatch) as device:
        there, here = torch.ones(3, device=device), torch.ones(3)
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            there + here
        assert (there + here.to(device)).cpu().tolist() == [2, 2, 2]
