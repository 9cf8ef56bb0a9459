"""Policies whose weights are spread over the processes of a run (FSDP2): each keeps its share of every parameter, of its gradient and of the optimiser's.

A pass through the policy gathers the weights that it needs and lets them go again, and a backward pass leaves each process the sum over all of its share of the
gradient. Nothing here happens in a run of one process.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from operant.core import ranks
from operant.core.flat import FlatParameters
from operant.nets.packed import SMALL
from operant.nets.policy import TrainedPolicy


def shard(policy: TrainedPolicy) -> None:
    """Spread a policy's weights over the processes, in place; all have the same ones before. Small models (`packed.SMALL`) go as one, others layer by layer.

    From then on `replay` and `values` are passes that all processes make together, and copies of the policy cannot be made.
    """
    if ranks.count() == 1 or policy.shares_weights:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    policy.state_dict()  # a digest of weights that stay as they are is made of whole ones
    mesh = init_device_mesh(policy.device.type, (ranks.count(),))
    layers = [] if sum(p.numel() for p in policy.parameters()) <= SMALL else _layers(policy)
    _part(layers)
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh, reshard_after_forward=True)
    for before, layer in zip([None, *layers], [*layers, policy], strict=True):  # said here: what was run last may have been one process's generation
        if layers:
            layer.set_modules_to_backward_prefetch([policy if before is None else before])
    for part in _parts(policy):
        part.set_gradient_divide_factor(1.0)  # losses are shares of one, which add up
        part.set_force_sum_reduction_for_comms(True)
    for name in ("replay", "values"):
        register_fsdp_forward_method(policy, name)
    policy.register_load_state_dict_pre_hook(_take_shares)
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)  # views are given, and nobody writes into them
    row = torch.zeros(1, 1, 2, dtype=torch.int64, device=policy.device)
    with torch.no_grad():  # the first pass decides what is the root
        policy.replay({"tokens": row, "prompt_length": row[..., 0] + 1, "length": row[..., 0] + 2}, row[..., :1])


def _layers(policy: nn.Module) -> list[nn.Module]:
    """What transformers' models repeat and never split."""
    names = {name for module in policy.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    return [module for module in policy.modules() if type(module).__name__ in names]


def _part(layers: list[nn.Module]) -> None:
    """Give each layer its own of frozen weights that two have in common (a policy and its critic beside their adapters): a weight belongs to one layer."""
    taken: set[nn.Parameter] = set()
    for layer in layers:
        for module in layer.modules():
            for name, parameter in module._parameters.items():
                if parameter in taken:
                    module._parameters[name] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
        taken |= set(layer.parameters())


def _parts(policy: nn.Module) -> list[Any]:
    if ranks.count() == 1:
        return []
    from torch.distributed.fsdp import FSDPModule

    return [module for module in policy.modules() if isinstance(module, FSDPModule)]


@contextmanager
def whole(policy: Any) -> Iterator[None]:
    """Meanwhile each process has all weights of a policy, for passes that it makes by itself."""
    parts = _parts(policy) if isinstance(policy, nn.Module) else []
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def local(x: Tensor) -> Tensor:
    """This process's share of a tensor that is spread, and any other as it is."""
    return x.to_local() if _is_spread(x) else x


def _is_spread(x: Any) -> bool:
    """Whether it is a tensor of which each process has a share; where one works alone there is none, and nothing is imported to see it."""
    if ranks.count() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(x, DTensor)


def _take_shares(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Whole tensors that are loaded become this process's shares."""
    from torch.distributed.tensor import DTensor

    for name, parameter in module.named_parameters(remove_duplicate=False):
        value = state.get(prefix + name)
        if isinstance(parameter, DTensor) and value is not None and not isinstance(value, DTensor):
            state[prefix + name] = _share(value, parameter)


def _share(value: Tensor, like: Any) -> Any:
    """A whole tensor as one that is spread as another is: each process takes its share of its own."""
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


class ShardedParameters(FlatParameters):
    """The trainable parameters of a policy that is spread, as `FlatParameters`: `grad [P]` holds this process's shares, end to end, and so do the buffers of an
    optimiser; its state has the form of one process's."""

    def __init__(self, policy: nn.Module):
        from torch.distributed.tensor import DTensor

        self.seeds, self.stacked, self.by_rows = 1, False, False
        self.parameters = [p for p in policy.parameters() if p.requires_grad]
        self._shares = [p.detach().to_local() for p in self.parameters]
        self.dtype = self._shares[0].dtype
        self.grad = self._shares[0].new_zeros(sum(share.numel() for share in self._shares))
        for p, gradient in zip(self.parameters, self._views(self.grad), strict=True):
            p.grad = DTensor.from_local(gradient, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride())

    def _views(self, buffer: Tensor) -> list[Tensor]:
        return [part.view(share.shape) for part, share in zip(buffer.split([share.numel() for share in self._shares]), self._shares, strict=True)]

    def weights(self) -> list[Tensor]:
        return [share for share in self._shares if share.numel()]

    def parts(self, buffer: Tensor) -> list[Tensor]:
        return [view for view in self._views(buffer) if view.numel()]

    def grad_norm(self) -> Tensor:
        return ranks.add(self.grad.norm().square()).sqrt()[None]

    def to_keep(self, buffer: Tensor) -> Spread:
        return Spread(self, buffer)

    def to_take(self, kept: Tensor) -> Tensor:
        shares = [_share(part.view(p.shape), p).to_local() for part, p in zip(kept.split([p.numel() for p in self.parameters]), self.parameters, strict=True)]
        return torch.cat([share.flatten() for share in shares])

    def gathered(self, buffer: Tensor) -> Tensor | None:
        """The whole of a buffer that is laid out as `grad`, on rank 0 on the CPU; None elsewhere."""
        from torch.distributed.tensor import DTensor

        parts = []
        for p, view in zip(self.parameters, self._views(buffer), strict=True):
            parts.append(_on_first(DTensor.from_local(view, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride())))
        return torch.cat([part.flatten() for part in parts]) if ranks.rank() == 0 else None


class Spread:
    """A buffer of `ShardedParameters` in a state, until it is `gathered`."""

    def __init__(self, flat: ShardedParameters, buffer: Tensor):
        self.flat, self.buffer = flat, buffer


def parameters_of(policy: TrainedPolicy, *, seeds: int, stacked: bool) -> FlatParameters:
    """The trainable parameters of a policy, spread or not."""
    return ShardedParameters(policy) if _parts(policy) else FlatParameters(policy, seeds=seeds, stacked=stacked)


def gathered(state: Any) -> Any:
    """A nested state with whole tensors in the place of what is spread, on rank 0 on the CPU, tensor by tensor; elsewhere None stands there."""
    if isinstance(state, dict):
        return {name: gathered(value) for name, value in state.items()} if ranks.count() > 1 else state
    if isinstance(state, list | tuple):
        return [gathered(value) for value in state] if ranks.count() > 1 else state
    if isinstance(state, Spread):
        return state.flat.gathered(state.buffer)
    return _on_first(state) if _is_spread(state) else state


def _on_first(x: Any) -> Tensor | None:
    whole = x.detach().full_tensor()
    return whole.cpu() if ranks.rank() == 0 else None
