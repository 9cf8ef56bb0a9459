"""Training on another device than the CPU: no operation takes tensors of two, and the numbers are the CPU's."""

import pytest
import torch
from battery import TOTAL, Case, battery_seeds, shorten, worlds
from other_device import other_device

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


def test_two_devices_do_not_mix(monkeypatch):
    with other_device(monkeypatch) as device:
        there, here = torch.ones(3, device=device), torch.ones(3)
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            there + here
        assert (there + here.to(device)).cpu().tolist() == [2, 2, 2]
