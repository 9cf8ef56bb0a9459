"""Plain PyTorch modules as policies: what is written for rows `[N, …]` gets the seed axis that everything here has."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from operant.core.errors import BadInput, RunFailed, a_type, one_line
from operant.core.random import Streams
from operant.core.seeds import derive_seed

# A module, which every seed starts from as it is, or what makes one, which is called for each seed with generators of its own.
PlainModule = nn.Module | Callable[[], nn.Module]
BY_ROW = 1e-3  # of its largest number, what a row may differ by for other rows beside it: rounding


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
        self._places = _places(modules[0])
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
        state = {there: value for name, value in state.items() for there in self._places[name]}
        rows = x.flatten(1, -2)
        taken = rows if self._read is None else self._read(rows)
        try:
            if len(rows) == 1:
                first = {name: part[0] for name, part in taken.items()} if isinstance(taken, dict) else taken[0]
                out = self._asked({name: value[0] for name, value in state.items()}, first).unsqueeze(0)
            else:
                out = vmap(self._asked)(state, taken)
        except Exception as error:  # whatever a module of somebody's own raises
            raise RunFailed(f"{type(self._plain[0]).__name__} {_said(error)}, at {rows.shape[1]} rows of observations") from error
        return out.unflatten(1, lead) if len(lead) > 1 else out

    def _asked(self, state: dict[str, Tensor], rows: Tensor | dict[str, Tensor]) -> Tensor:
        out = functional_call(self._plain[0], state, (rows,), tie_weights=False)  # `_places` names all: tied by it, what stood in a shared module is lost
        if not isinstance(out, Tensor):
            raise TypeError(f"its forward gave {a_type(out)}, not one tensor")
        return out


def _said(error: BaseException) -> str:
    said = error.args[0] if isinstance(error, KeyError) and error.args else error  # whose text is the key as it is written in code
    return f"raised {type(error).__name__}: {one_line(said)}"


def _places(module: nn.Module) -> dict[str, list[str]]:
    """By the name of each parameter and buffer, where it stands: once for a module that is used under several names, more than once where modules share it."""
    found: dict[int, list[str]] = {}
    for name, part in module.named_modules():
        for leaf, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), []).append(f"{name}.{leaf}".lstrip("."))
    return {names[0]: names for names in found.values()}


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
        BadInput: it is no module of these widths, holds no parameter or one without a shape, or what a run cannot repeat: draws, statistics of batches, or
            what hangs on the other rows of a batch.
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
        drops, counts = isinstance(part, nn.modules.dropout._DropoutNd), isinstance(part, nn.modules.batchnorm._NormBase)
        if drops or (counts and (part.track_running_stats or isinstance(part, nn.modules.batchnorm._BatchNorm))):
            raise BadInput(f"{what} holds {type(part).__name__}, whose draws or counts a run cannot repeat: leave it out, or take LayerNorm")
    if lazy := next((name for name, p in made[0].named_parameters() if nn.parameter.is_lazy(p)), None):
        raise BadInput(f"{what} has no shape for {lazy} yet: say how many numbers its lazy layers read, or call it once before it is given")
    if not any(p.requires_grad for p in made[0].parameters()):
        raise BadInput(f"{what} has no parameter that could be trained")
    shapes = [{name: list(x.shape) for name, x in one.state_dict().items()} for one in made]
    if other := next((one for one in shapes if one != shapes[0]), None):
        name = next(name for name in (*shapes[0], *other) if shapes[0].get(name) != other.get(name))
        raise BadInput(f"{what}: what makes it gave seeds other shapes, {name} {shapes[0].get(name)} and {other.get(name)}")
    lifted = Lifted(made, read)
    wanted = f"must map observations {takes} to [N, {'F' if outputs is None else outputs}]"
    rows = torch.rand(len(made), 2, inputs, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            found = lifted(rows)
    except RunFailed as error:
        raise BadInput(f"{what} {wanted}; it {_said(error.__cause__)}") from error
    shape = tuple(found.shape)
    if len(shape) != 3 or shape[:2] != (len(made), 2) or shape[2] != (outputs or shape[2]):
        raise BadInput(f"{what} {wanted}; it gives {list(shape[1:])} for 2 of them")
    with torch.no_grad():
        again, apart = lifted(rows), torch.cat([lifted(rows[:, :1]), lifted(rows[:, 1:])], 1)
    if not torch.equal(found, again):
        raise BadInput(f"{what} gives other numbers when it is asked again: what it draws, or keeps of its calls, a run cannot repeat")
    if (found - apart).abs().max() > BY_ROW * (1 + found.abs().max()):
        raise BadInput(f"{what} gives a row other numbers beside another row: what hangs on a whole batch, as BatchNorm, cannot act row by row; take LayerNorm")
    lifted.size = shape[2]
    return lifted
