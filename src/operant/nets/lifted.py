"""Plain PyTorch modules as policies: what is written for rows `[N, …]` gets the seed axis that everything here has."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.seeds import derive_seed

# A module, which every seed starts from as it is, or what makes one, which is called for each seed with generators of its own.
PlainModule = nn.Module | Callable[[], nn.Module]


class Lifted(nn.Module):
    """S modules of one form as one module: `[S, …, D] → [S, …, outputs]`, each with parameters of its own.

    Args:
        modules: one a seed; they are copied.
        read: from rows `[S, N, D]` to what a module takes, with an axis of seeds in front; None where it takes rows.

    Attributes:
        size: numbers of a module's output.
    """

    size: int

    def __init__(self, modules: list[nn.Module], read: Callable[[Tensor], Tensor | dict[str, Tensor]] | None = None):
        super().__init__()
        self._read = read
        self._plain = [copy.deepcopy(modules[0]).to("meta")]  # in a list: its parameters are not this module's
        self._names = [name for name, _ in modules[0].named_parameters()]
        for place, name in enumerate(self._names):
            values = [dict(module.named_parameters())[name] for module in modules]
            lifted = nn.Parameter(torch.stack([value.detach() for value in values]).float(), requires_grad=values[0].requires_grad)
            self.register_parameter(f"parameter_{place}", lifted)
        self._buffers_of = [name for name, _ in modules[0].named_buffers()]
        for place, name in enumerate(self._buffers_of):
            self.register_buffer(f"buffer_{place}", torch.stack([dict(module.named_buffers())[name].detach() for module in modules]))

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[1:-1]
        state = {name: getattr(self, f"parameter_{place}") for place, name in enumerate(self._names)}
        state |= {name: getattr(self, f"buffer_{place}") for place, name in enumerate(self._buffers_of)}
        rows = x.flatten(1, -2)
        taken = rows if self._read is None else self._read(rows)
        if len(rows) == 1:
            first = {name: part[0] for name, part in taken.items()} if isinstance(taken, dict) else taken[0]
            out = functional_call(self._plain[0], {name: value[0] for name, value in state.items()}, (first,)).unsqueeze(0)
        else:
            out = vmap(lambda own, row: functional_call(self._plain[0], own, (row,)))(state, taken)
        return out.unflatten(1, lead) if len(lead) > 1 else out


class LiftedTowers(nn.Module):
    """What `layers.Towers` is, of a given actor and a critic: two networks that share nothing.

    Args:
        actor, critic: `[S, …, D] → [S, …, outputs]` and `[S, …, 1]`.
    """

    def __init__(self, actor: nn.Module, critic: nn.Module):
        super().__init__()
        self.actor, self.critic = actor, critic

    def forward(self, x: Tensor) -> Tensor:
        return self.actor(x)

    def standing(self) -> Callable[[Tensor], Tensor]:
        return self

    def value(self, x: Tensor) -> Tensor:
        return self.critic(x).squeeze(-1)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(x), self.value(x)


def lift(
    module: PlainModule,
    inputs: int,
    outputs: int | None,
    streams: Streams,
    *,
    name: str = "policy",
    said: tuple[str, str] | None = None,
    read: Callable[[Tensor], Tensor | dict[str, Tensor]] | None = None,
) -> Lifted:
    """A plain module with the seed axis.

    Args:
        inputs: width of a row.
        outputs: width that it must give; None for any.
        name: for what it draws when it is made.
        said: what it is, and what it takes, in words.
        read: from rows to what it takes (see `Lifted`).

    Raises:
        BadInput: it is no module of these widths, holds no parameter, or holds what draws (dropout) or counts batches (batch norm).
    """
    what, takes = said or ("policy", f"[N, {inputs}]")
    made = []
    for seed in streams.seeds:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, f"initialize/{name}"))
            one = module if isinstance(module, nn.Module) else module()
        if not isinstance(one, nn.Module):
            raise BadInput(f"{what}: what was given made {type(one).__name__}, no torch.nn.Module")
        made.append(one)
    what = f"{what} {type(made[0]).__name__}"
    for part in made[0].modules():
        if isinstance(part, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm):
            raise BadInput(f"{what} holds {type(part).__name__}, whose draws or counts a run cannot repeat: leave it out, or take LayerNorm")
    if not any(p.requires_grad for p in made[0].parameters()):
        raise BadInput(f"{what} has no parameter that could be trained")
    lifted = Lifted(made, read)
    wanted = f"must map observations {takes} to [N, {'F' if outputs is None else outputs}]"
    try:
        with torch.no_grad():
            shape = tuple(lifted(torch.zeros(len(made), 2, inputs)).shape)
    except Exception as error:  # whatever a module of somebody's own raises
        reason = (str(error).splitlines() or [""])[0]
        raise BadInput(f"{what} {wanted}; it raised {reason if isinstance(error, RuntimeError) else f'{type(error).__name__}: {reason}'}") from error
    if len(shape) != 3 or shape[:2] != (len(made), 2) or shape[2] != (outputs or shape[2]):
        raise BadInput(f"{what} {wanted}; it gives {list(shape[1:])} for 2 of them")
    lifted.size = shape[2]
    return lifted
