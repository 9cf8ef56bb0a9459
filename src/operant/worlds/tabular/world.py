"""The world of finite MDPs, where values, optima and occupancies are computed and not estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from operant.core.errors import CODE, BadInput, close_names, one_line, unknown
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import import_named, is_file, near_module, read_settings
from operant.core.spec import Field, Spec
from operant.nets.finite import FinitePolicy
from operant.worlds.base import World, check_carried
from operant.worlds.data.formats import read_arrays
from operant.worlds.names import FROM_GYMNASIUM, own_maker
from operant.worlds.tabular.arrays import table_of
from operant.worlds.tabular.game_world import FILE_ARRAYS as GAME_ARRAYS
from operant.worlds.tabular.game_world import GameWorld, holds_game
from operant.worlds.tabular.games import FiniteGame
from operant.worlds.tabular.mdp import ROUNDING, FiniteMDP, Samples, covering
from operant.worlds.tabular.named_games import NAMED_GAMES
from operant.worlds.tabular.options import TabularOptions
from operant.worlds.tabular.pomdp import FinitePOMDP
from operant.worlds.tabular.problems import TABLES, Table
from operant.worlds.tabular.robust import UncertainMDP
from operant.worlds.tabular.sparse import SparseMDP
from operant.worlds.tabular.stock import stocked
from operant.worlds.tabular.toy_text import toy_text

MOST_CELLS = 2**24  # (step, state, action, next state) that torch.multinomial draws from
FILE_AXES = {
    "transition": "K, A, K",
    "reward": "K, A",
    "initial": "K",
    "emission": "K, O",
    "features": "K, A, d",
    "kernels": "d, K, A, K",
    "rounds": "R, K, A",
    "candidate_features": "M, K, A, d",
    "candidate_measures": "M, d, K",
    "discount": "",
    "horizon": "",
    "bernoulli": "",
}
"""The arrays of a file, and their axes."""
KNOWN = ("features", "kernels", "rounds", "candidate_features", "candidate_measures")  # of what a file may tell beside
STEPPED = ("transition", "reward", "emission", "features", "rounds")  # may have a step axis more
DISTRIBUTIONS = ("transition", "initial", "emission", "kernels")
STEP_AXES = {"features": 1, "rounds": 2}  # where, with a horizon, tables have the step that they may leave out


class TabularWorld(World):
    """One finite MDP, or one for each seed. The score of a policy is its value at the first state, the discounted sum of rewards, with a horizon their sum.

    Args:
        task: one of `TABLES`, `gym/ID` for the table that an environment of Gymnasium keeps of itself, a file `PATH.npz` (see docs/extending.md), or an MDP
            that is ready.
        data: `[S or 1, *shape]`, the distribution of the pairs that are logged, with a horizon each step's; None for `covering`.
        named: what an MDP that is ready is called.
        options: fields of `TabularOptions`, values or text.

    Attributes:
        discount, horizon: of its MDPs.
        picture, arrows: as of a `Table`.

    Raises:
        BadInput: an unknown name or option, a size that the task does not have, a file that holds no MDP, more than the machine's memory.
    """

    kind = "tabular"
    option_type = TabularOptions
    stacked = True
    score = "value"
    step_unit = "iterations"
    acts = True
    exact = True

    def __init__(self, task: str | FiniteMDP, *, data: Tensor | None = None, named: str = "an MDP", **options: Any):
        name = task if isinstance(task, str) else named
        self.file = Path(name).expanduser().resolve() if name.endswith(".npz") else None
        self.task = f"tabular:{name if self.file is None else self.file}"
        brought = isinstance(task, str) and name.startswith(FROM_GYMNASIUM)
        if isinstance(task, str) and self.file is None and not brought and name not in TABLES:
            raise unknown("finite MDP", name, TABLES)
        self.options: TabularOptions = read_settings(TabularOptions, options, self.task, "option")
        table, asked = toy_text(name.removeprefix(FROM_GYMNASIUM)) if brought else TABLES.get(name, _GIVEN), self.options
        for size in ("states", "actions", "observations", "revealing", "batch", "delay", "rock", "kl_weight"):
            if getattr(asked, size) is not None and size not in table.sized:
                raise BadInput(f"{self.task} has no option {size}{': its size is fixed' * (size in ('states', 'actions'))}")
        if asked.states is not None and asked.states < table.fewest:
            raise BadInput(f"{self.task}: states = {asked.states}: it must be at least {table.fewest}")
        ready = isinstance(task, FiniteMDP)
        if (given := next((name for name in ("discount", "horizon") if getattr(asked, name) is not None), None)) is not None:
            if ready or None not in (asked.discount, asked.horizon):
                raise BadInput(f"{self.task} --{given}: {'the MDP has its own' if ready else 'give a discount or a horizon, not both'}")
            if table.hidden and given == "discount":
                raise BadInput(f"{self.task} --discount: where something is hidden, episodes have an end: give a --horizon")
            if table.stock is not None and given == "discount":
                raise BadInput(f"{self.task} --discount: what is gained counts to the end of an episode: give a --horizon")
            if table.branches and given == "horizon":
                raise BadInput(f"{self.task} --horizon: it has a discount: take tabular:random-sparse for episodes")
            if table.fixed:
                raise BadInput(f"{self.task} --{given}: its horizon is its own")
        if asked.stock is not None and (table is _GIVEN or table.hidden or table.told is not None):
            raise BadInput(f"{self.task} has no option stock: it is of named tasks that show all that there is to know, such as tabular:risky")
        self._table, self._found, self._data = table, {}, data
        self.picture, self.arrows = table.picture, table.arrows
        self._given = task if ready else None if self.file is None else _read(self.file, asked)
        mdp = self._mdp((0,))
        self.discount, self.horizon, self.shape = mdp.discount, mdp.horizon, mdp.shape
        self.action_space = gymnasium.spaces.Discrete(mdp.actions)
        self.observation, self.action = _choice("observation", mdp.states), _choice("action", mdp.actions)

    @classmethod
    def from_name(cls, name: str, **options: Any) -> World:
        """The world of a name, of a file, or of what a person's own function makes (`MODULE:NAME`): of a finite MDP, or of a game."""
        if (own := own_maker(name)) is not None:
            made = _made(name, *own)
            world = (GameWorld if isinstance(made, FiniteGame) else cls)(made, named=name, **options)
            world.modules = (own[0],) if is_file(own[0]) else ()
            return world
        game = name in NAMED_GAMES or (name.endswith(".npz") and holds_game(Path(name).expanduser().resolve()))
        return GameWorld(name, **options) if game else cls(name, **options)

    @staticmethod
    def names() -> dict[str, str]:
        about = "finite MDP, exact truth (also tabular:PATH.npz, tabular:MODULE:NAME, tabular:gym/FrozenLake-v1)"
        return dict.fromkeys(TABLES, about) | GameWorld.names()

    def fingerprint(self) -> str:
        mdp = self._mdp((0,))
        known = "".join(f" {table.square().sum().item()!r}" for table in mdp.known)
        known += " bernoulli" * (self._given is not None and mdp.bernoulli)
        return f"{self.task} {list(self.shape)} {mdp.transition.square().sum().item()!r} {mdp.reward.sum().item()!r} {mdp.discount} {mdp.horizon}" + known

    def steps_of(self, loop: str) -> int:
        """The horizon; without one, T = log(N) / (1 - discount), after which value iteration has come N times nearer, N being the number of transitions."""
        if self.horizon is not None:
            return self.horizon
        return math.ceil(math.log(max(self.options.transitions, 2)) / (1 - self.discount))

    def _mdp(self, seeds: Sequence[int]) -> FiniteMDP:
        """The MDPs of these seeds; the newest are kept."""
        if self._given is not None:
            return self._given
        table, options = self._table, self.options
        seeds = tuple(seeds) if table.own else (0,)
        if seeds not in self._found:
            states, actions = options.states or table.states, options.actions or table.actions
            self._check_size(len(seeds), states, actions)
            horizon = options.horizon or (None if options.discount is not None else table.horizon(states) if callable(table.horizon) else table.horizon)
            others = {name: default if getattr(options, name) is None else getattr(options, name) for name, default in table.others.items()}
            if table.hidden:
                self._found = {seeds: table.build(states, actions, seeds, horizon, **others).unrolled()}
                return self._found[seeds]
            transition, reward, initial = table.build(states, actions, seeds)
            told = {} if table.told is None else table.told(states, actions, seeds)
            if horizon is not None:
                transition, reward = transition.unsqueeze(1), reward if reward.ndim == 4 else reward.unsqueeze(1)
                told |= {name: told[name].unsqueeze(axis) for name, axis in STEP_AXES.items() if name in told}
            discount = 1.0 if horizon is not None else table.discount if options.discount is None else options.discount
            kind = UncertainMDP if "models" in told else SparseMDP if "successor" in told else FiniteMDP
            found = kind(transition, reward, initial, discount, horizon, table.bernoulli, **told, **others)
            stock = table.stock if options.stock is None else options.stock
            self._found = {seeds: found if stock is None else stocked(found, stock)}
        return self._found[seeds]

    def _check_size(self, seeds: int, states: int, actions: int) -> None:
        what = f"{self.task} with {states:,} states and {actions:,} actions{f' for each of {seeds:,} seeds' * (seeds > 1)}"
        cells = (4 + self._table.kernels) * (min(self._table.branches, states) or states) + 4 * self._table.rounds
        check_memory(what, cells * 8 * seeds * states * actions, "take fewer states, or fewer seeds")

    def check_mdp(self, seeds: int) -> None:
        if self._table.own:
            self._check_size(seeds, self.shape[-2], self.shape[-1])
        steps = "" if self.horizon is None else f" over {self.horizon:,} step{'s' * (self.horizon > 1)}"
        what = f"{self.task}: a policy{f' of each of {seeds:,} seeds' * (seeds > 1)} for {self.shape[-2]:,} states{steps}"
        less = "fewer states" if self.horizon in (None, 1) else "a shorter horizon"
        check_memory(what, 4 * 8 * seeds * math.prod(self.shape), f"take {less}{', or fewer seeds' * (seeds > 1)}")

    def check_samples(self, seeds: int) -> None:
        self.check_mdp(seeds)
        size = self.options.transitions
        check_memory(f"{size:,} transitions{f' of each of {seeds:,} seeds' * (seeds > 1)}", 4 * 8 * seeds * size, "take fewer --transitions")
        if (found := math.prod(self.shape) * self.shape[-2]) > MOST_CELLS:
            raise BadInput(f"{self.task}: transitions are drawn where at most {MOST_CELLS:,} can be told apart, here are {found:,}: take fewer states")

    def mdp(self, streams: Streams) -> FiniteMDP:
        return self._mdp(streams.seeds)

    def samples(self, streams: Streams) -> Samples:
        """Independent transitions of a behaviour whose concentrability is the option's (`covering`)."""
        mdp = self._mdp(streams.seeds)
        data = covering(mdp, self.options.concentrability) if self._data is None else self._data
        return mdp.sample(data, self.options.transitions, streams)

    def policy(self, net: Any, streams: Streams) -> FinitePolicy:
        return FinitePolicy(streams.seeds, self.shape)

    def evaluate(self, policy: FinitePolicy, seeds: int, *, episodes: int = 1, seed: int = 0) -> Evaluation:
        """Each policy's value, computed, and how far it is below the largest that there is."""
        mdp = self._mdp(policy.seeds)
        probabilities = policy.probabilities.cpu()
        value = mdp.start_value(mdp.value(probabilities))
        best = mdp.start_value(mdp.optimum[0]).expand(seeds)
        short = best - value
        measures = {"suboptimality": short.masked_fill(short.abs() <= ROUNDING, 0.0), "optimal value": best} | mdp.measures(probabilities)
        return Evaluation(self.score, value.unsqueeze(1).numpy(), measures={name: of.expand(seeds).numpy() for name, of in measures.items()})

    @property
    def along_episodes(self) -> str:
        return f"{self.task}: what the policy does hangs on the step: run.policy(state, step=0), or act = run.player(), which counts the steps, and act.reset()"

    def carry_at(self, policy: FinitePolicy, observation: Any, step: int) -> Tensor | None:
        if self.horizon is None:
            return super().carry_at(policy, observation, step)
        if step >= self.horizon:
            raise BadInput(f"{self.task}: step {step:,}: an episode has {self.horizon:,}, counted from 0")
        begins = policy.initial(max(np.size(observation), 1))
        return None if begins is None else begins + step

    def act(self, policy: FinitePolicy, observation: Any, action_mask: Any = None, carry: Tensor | None = None) -> tuple[Any, Tensor | None]:
        """The policy's likeliest action at a state, or at several. No mask is known here; what is carried on are the steps of episodes with a horizon."""
        if action_mask is not None:
            raise BadInput(f"{self.task}: action_mask is given, and every action can be taken in every state")
        state = np.asarray(observation)
        if state.dtype.kind not in "iu" or state.ndim > 1 or state.size == 0 or state.min() < 0 or state.max() >= self.shape[-2]:
            raise BadInput(f"{self.task}: {observation!r} is no state: states are whole numbers from 0 to {self.shape[-2] - 1}")
        check_carried(carry, state.size)
        if carry is not None and (carry >= self.horizon).any():
            raise BadInput(f"{self.task}: episodes have {self.horizon:,} steps, and these are over: act.reset() where the next one begins")
        found, carry = policy.act(torch.from_numpy(state.astype(np.int64)).view(1, -1), carry)
        actions = found[0].numpy()
        return actions if state.ndim else actions[0], carry


_GIVEN = Table(lambda states, actions, seeds: NotImplemented, 0, 0)


def _made(name: str, module: str, function: str) -> FiniteMDP | FiniteGame:
    """What a function of a module makes. Raises `BadInput` where there is none, it raises, or it makes something else."""
    try:
        make = getattr(import_named(module), function)
        made = make()
    except BadInput as error:
        raise BadInput(f"tabular:{name}: {error}") from error
    except CODE as error:
        what = one_line(f"{type(error).__name__}: {error}", 160) + near_module(error)
        raise BadInput(f"tabular:{name}: {what}; it names a function without arguments, tabular:MODULE:FUNCTION, of a module that can be imported") from error
    if not isinstance(made, FiniteMDP | FiniteGame):
        raise BadInput(f"tabular:{name} makes {type(made).__name__}, must be a FiniteGame or a FiniteMDP")
    return made


def _choice(name: str, count: int) -> Spec:
    """What is one of so many."""
    return Spec((Field(name, (), "int64", "discrete", (count,), (0,)),))


def _read(path: Path, options: TabularOptions) -> FiniteMDP:
    """The MDP of a file: `transition`, `reward` or `rounds`, and as they are there `initial` (uniform), what is `KNOWN`, `bernoulli`, `discount` or `horizon`;
    an option takes the place of these two. With an `emission` the states are hidden."""
    arrays, keys = read_arrays(path, FILE_AXES)
    for name in ("transition", "reward"):
        if name not in arrays and not (name == "reward" and "rounds" in arrays):
            if (meant := next((key for key in keys if key not in FILE_AXES and close_names(key, GAME_ARRAYS)), None)) is not None:
                raise BadInput(f"{path}: {unknown('array', meant, GAME_ARRAYS)}")
            holds = f"it holds {', '.join(keys[:8])}" if keys else "it is empty"
            raise BadInput(f"{path} has no {name} ({holds}); a finite MDP has transition [K, A, K] and reward [K, A], or a step axis in front")
    if (other := next((key for key in keys if key not in FILE_AXES), None)) is not None:
        raise BadInput(f"{path}: {unknown('array', other, FILE_AXES)}")
    tables = {name: _checked(path, name, array) for name, array in arrays.items()}
    numbers = {name: tables.pop(name).item() for name in ("discount", "horizon", "bernoulli") if name in tables}
    if (horizon := numbers.get("horizon")) is not None and (horizon != int(horizon) or horizon < 1):
        raise BadInput(f"{path}: horizon is {horizon:g}, must be a whole number, 1 or more")
    if numbers.get("bernoulli", 0) not in (0, 1):
        raise BadInput(f"{path}: bernoulli is {numbers['bernoulli']:g}, must be 0 or 1")
    discount = numbers.get("discount")
    if (asked := (options.discount, options.horizon)) != (None, None):
        discount, horizon = asked
    if horizon is None and discount is None:
        raise BadInput(f"{path} says neither discount nor horizon: give --discount, as in --discount 0.95")
    if horizon is not None and discount is not None:
        raise BadInput(f"{path} says both discount and horizon: leave one out, or give --discount or --horizon, which decides")
    if "rounds" in tables and "reward" not in tables:
        tables["reward"] = tables["rounds"].mean(0)
    if horizon is not None:
        for name, axes in (("transition", 3), ("reward", 2)):
            tables[name] = tables[name].unsqueeze(0) if tables[name].ndim == axes else tables[name]
    told = {name: tables[name].unsqueeze(0) for name in KNOWN if name in tables}
    if horizon is not None:
        told |= {name: told[name].unsqueeze(axis) for name, axis in STEP_AXES.items() if name in told and told[name].ndim == 4}
    states = tables["transition"].shape[-1]
    initial = tables.get("initial", torch.full((states,), 1 / states, dtype=torch.float64))
    try:
        transition, reward, initial = (table.unsqueeze(0) for table in (tables["transition"], tables["reward"], initial))
        if (emission := tables.get("emission")) is not None:
            if horizon is None:
                raise BadInput("where something is hidden, episodes have an end: give --horizon, as in --horizon 4")
            if beside := [name for name in (*KNOWN, "bernoulli") if name in arrays]:
                raise BadInput(f"where something is hidden (emission), {' and '.join(beside)} cannot be given: leave out what is not meant")
            emission = (emission.unsqueeze(0) if emission.ndim == 2 else emission).unsqueeze(0)
            return FinitePOMDP(transition, emission, reward, initial, int(horizon)).unrolled()
        drawn = bool(numbers.get("bernoulli", 0))
        return FiniteMDP(transition, reward, initial, 1.0 if horizon is not None else discount, None if horizon is None else int(horizon), drawn, **told)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _checked(path: Path, name: str, array: np.ndarray) -> Tensor:
    """One array of a file: finite numbers with the axes that it must have, in float64."""
    kinds = "biuf" if name == "bernoulli" else "iuf"
    if not (axes := FILE_AXES[name]):
        table = table_of(path, name, array, array.size == 1, "one number", kinds).reshape(())
    else:
        fits = array.size > 0 and array.ndim - len(axes.split(", ")) in ((0, 1) if name in STEPPED else (0,))
        table = table_of(path, name, array, fits, f"[{axes}]{', or with a step axis' * (name in STEPPED)}", kinds)
    if name in DISTRIBUTIONS and array.dtype.kind == "f" and array.dtype.itemsize < 8:
        if ROUNDING < (off := (table.sum(-1) - 1).abs().max().item()) <= array.shape[-1] * np.finfo(array.dtype).eps:
            raise BadInput(f"{path}: {name} is {array.dtype}, whose rounding leaves sums off 1 by {off:.2g}: store it as float64, divided by its sums")
    return table
