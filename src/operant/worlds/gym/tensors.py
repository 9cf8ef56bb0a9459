"""Environments that are stepped on tensors, all copies in one computation, on the processor or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, a_type
from operant.core.seeds import derive_seed
from operant.core.spec import Field, Spec
from operant.worlds.gym.check import PATIENCE, WATCH, Late, Reader, closed, from_info, place, raised, too_late
from operant.worlds.gym.environments import Step
from operant.worlds.gym.spaces import Actions, leaves

Batch = Any  # a tensor [N, *shape] of a space that is no Dict or Tuple, else a dict or a tuple of such


class TensorEnvironment:
    """N copies of an environment of your own. A task is the class, or a callable that takes `num_envs` and makes one.

    Attributes:
        observation_space, action_space: of one copy.
        limit: steps after which it cuts an episode; None where it does not.
        resume: "bitwise" where the state below is the whole of it.
        metadata: its "render_modes" and "render_fps", as Gymnasium has them, where it draws.
        num_envs: N.
        device: where its tensors are.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    limit: ClassVar[int | None] = None
    resume: ClassVar[str] = "episode-boundary"
    metadata: ClassVar[dict[str, Any]] = {}
    device: torch.device | str = "cpu"

    def __init__(self, num_envs: int = 1):
        self.num_envs = num_envs

    def reset(self, which: Tensor, seed: int | None = None) -> Batch:
        """Begin new episodes in some copies.

        Args:
            which: `[N]` bool.
            seed: of everything that is drawn from now on; None goes on drawing.

        Returns:
            the observations of all copies, `[N, *shape]`; of the others they are not looked at.
        """
        raise NotImplementedError

    def step(self, action: Batch) -> tuple[Batch, Tensor, Tensor, Tensor]:
        """Act in every copy, and begin no episodes: who asks does.

        Args:
            action: `[N, *shape]` in the space's own units and type, numbers within its bounds.

        Returns:
            (observations `[N, *shape]`, rewards `[N]`, terminated `[N]` bool, truncated `[N]` bool). None of them is written into later.
        """
        raise NotImplementedError

    def action_mask(self) -> Tensor | None:
        """Which choices each copy allows where it stands, `[N, choices]`; None where all always are."""
        return None

    def success(self) -> Tensor | None:
        """Whether each copy succeeded, `[N]` bool, asked behind the first step and where some episodes ended, before others begin; None where nothing says so.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as plain data and tensors, where `resume` says "bitwise"."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def render(self) -> np.ndarray:
        """A picture of the first copy, `[height, width, 3]` bytes, where it was made with `render_mode="rgb_array"`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what it holds."""


class TensorRows:
    """The copies of a `TensorEnvironment` as rows; a step brings one block of numbers to the host, and a second one where episodes ended.

    Args:
        row_seeds: the environment draws from one seed that is made of all of them.
        start_seconds: how long a call may take (enforced on the main thread, see `check.Watch`).

    Raises:
        BadInput: a space that is not supported, or another number of copies.
        RunFailed: the environment raised, took too long, or gave another shape or type than it says; at any later call too.
    """

    def __init__(self, env: TensorEnvironment, row_seeds: Sequence[int], name: str, start_seconds: float = PATIENCE):
        if env.num_envs != len(row_seeds):
            raise BadInput(f"environment {name!r} has {env.num_envs} copies, where {len(row_seeds)} were asked for: its num_envs is what it is given")
        self.env, self.name, self.rows, self.limit, self.resume = env, name, env.num_envs, env.limit, env.resume
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._seeds, self._start_seconds = [int(seed) for seed in row_seeds], start_seconds
        self._actions = Actions(name, self.action_space)
        self.action_spec = self._actions.spec
        self._reader = Reader(name, self.observation_space, self.action_spec, "the protocol of tensor environments")
        self._paths = [path for path, _ in leaves(self.observation_space)]
        self._steps, self._started, self._known = 0, False, False
        self._watching: bool | None = None  # None before the first call
        self._told: bool | None = None  # whether it says of episodes that they succeeded; None before the first step
        self.observation = np.zeros((self.rows, self._reader.size), np.float32)

    @property
    def observation_spec(self) -> Spec:
        return self._reader.spec

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        seed = None if self._started else derive_seed(self._seeds[0], *self._seeds[1:]) % 2**31
        self.observation = self._begun(np.ones(self.rows, bool), seed)
        self._started = True
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row; rows whose episode ended restart at once."""
        given = _mapped(self._actions.to_environment(action, self.rows), lambda array: torch.from_numpy(np.ascontiguousarray(array)).to(self.env.device))
        result = self._called("step", given)
        if not isinstance(result, tuple) or len(result) != 4:
            raise self._reader.broken(None, self._steps, f"step returns (observations, rewards, terminated, truncated); got {a_type(result)}")
        seen, *others = result
        for what, value, kind in zip(("rewards", "terminated", "truncated"), others, (None, torch.bool, torch.bool), strict=True):
            if not isinstance(value, Tensor) or value.shape != (self.rows,) or (kind is not None and value.dtype != kind):
                found = f"{list(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else a_type(value)
                raise self._reader.broken(None, self._steps, f"{what} are {found}; expected [{self.rows}]{' of bool' if kind is not None else ''}")
        numbers = torch.cat([self._packed(seen), *(value.unsqueeze(1).float() for value in others)], 1).cpu().numpy()
        next_observation, reward, (terminated, truncated) = numbers[:, :-3].copy(), numbers[:, -3].copy(), (numbers[:, -2:] > 0.5).T.copy()
        if not np.isfinite(reward).all():
            row = int(np.argwhere(~np.isfinite(reward))[0, 0])
            raise self._reader.broken(row, self._steps, f"reward is {reward[row]:g}; it is one finite number")
        self._reader.finite(next_observation, self._steps)
        self._steps += 1
        observation, ended = next_observation, terminated | truncated
        success = np.full(self.rows, np.nan, np.float32) if self._told else None
        if ended.any() or self._told is None:
            success = self._success(ended)
            self._told = success is not None
        if ended.any():
            self._reader.release(next_observation, ended)
            observation = np.where(ended[:, None], self._begun(ended, None), next_observation)
        self._reader.playable(observation, self._steps)
        self.observation = observation
        return Step(observation, next_observation, reward, terminated, truncated, np.ones(self.rows, bool), success)

    def _success(self, ended: np.ndarray) -> np.ndarray | None:
        """`Step.success` of a step."""
        said = self._called("success")
        if said is None:
            return None
        if not isinstance(said, Tensor) or said.shape != (self.rows,) or said.dtype != torch.bool:
            raise self._reader.broken(None, self._steps, f"success is no tensor [{self.rows}] of bool")
        return np.where(ended, said.cpu().numpy(), np.nan).astype(np.float32)

    def begins_alike(self) -> bool:
        """Whether the same seed begins the same episodes each time; before any is begun in earnest."""
        first, second = (self._begun(np.ones(self.rows, bool), 0) for _ in range(2))
        return np.array_equal(first, second)

    def _begun(self, which: np.ndarray, seed: int | None) -> np.ndarray:
        seen = self._called("reset", torch.from_numpy(which).to(self.env.device), seed)
        if not self._known:
            self._known = True
            if self._called("action_mask") is not None:
                self._reader.find_mask(from_info)  # it stands beside the observation; read below
        observation = self._packed(seen).cpu().numpy().copy()
        self._reader.finite(observation[which], self._steps)
        self._reader.playable(observation[which], self._steps)
        return observation

    def _called(self, what: str, *arguments: object) -> Any:
        if self._watching is None:
            self._watching = WATCH.open(self._start_seconds)
        if self._watching:
            WATCH.step = object()
        try:
            with torch.no_grad():
                return getattr(self.env, what)(*arguments)
        except Late:
            raise too_late(place(self.name, step=self._steps), self._start_seconds, what) from None
        except BaseException as error:
            raise raised(place(self.name, step=self._steps), what, error) from error
        finally:
            WATCH.step = None

    def _packed(self, seen: Batch) -> Tensor:
        """A batch of observations as rows `[N, D]` float32, on its device."""
        spec, parts = self._reader.spec, []
        for path, part in zip(self._paths, spec.fields, strict=False):
            value = seen
            for key in path:
                if not isinstance(value, dict | tuple) or (key not in value if isinstance(value, dict) else key >= len(value)):
                    raise self._reader.broken(None, self._steps, f"observations have no part {part.name!r}")
                value = value[key]
            if not isinstance(value, Tensor) or value.shape != (self.rows, *part.shape):
                found = list(value.shape) if isinstance(value, Tensor) else a_type(value)
                wanted = [self.rows, *part.shape]
                raise self._reader.broken(None, self._steps, f"observation {part.name!r} is {found}; its observation space says {wanted}")
            parts.append(self._numbers(value.reshape(self.rows, -1), part))
        if len(spec.fields) > len(self._paths):
            mask = self._called("action_mask")
            if not isinstance(mask, Tensor) or mask.shape != (self.rows, spec.fields[-1].size):
                raise self._reader.broken(None, self._steps, f"action_mask is no tensor [{self.rows}, {spec.fields[-1].size}]")
            parts.append(mask.float())
        return torch.cat(parts, 1)

    def _numbers(self, value: Tensor, part: Field) -> Tensor:
        if part.kind not in ("discrete", "multi-discrete"):
            return value.float()
        if value.is_floating_point():
            raise self._reader.broken(None, self._steps, f"observation {part.name!r} is of {value.dtype}; its observation space has integers")
        chosen = zip(value.unbind(1), part.counts, part.starts, strict=True)
        return torch.cat([(number - start).unsqueeze(1) == torch.arange(count, device=number.device) for number, count, start in chosen], 1).float()

    def state_dict(self) -> dict:
        own = self._called("state_dict") if self.resume == "bitwise" and self._started else None
        state = {"name": self.name, "rows": self.rows, "steps": self._steps, "started": self._started}
        return state | {"environment": own, "observation": self.observation.copy()}

    def load_state_dict(self, state: dict) -> None:
        """Continue bit for bit where the environment gave its state; otherwise begin new episodes, seeded by the number of steps made.

        Raises:
            BadInput: the state is of another environment or number of rows.
        """
        if state["name"] != self.name or state["rows"] != self.rows:
            raise BadInput(f"state of {state['rows']} rows of {state['name']!r} does not fit these environments: {self.rows} rows of {self.name!r}")
        self._steps = state["steps"]
        if not state["started"]:
            return
        self._started = True
        self.observation = self._begun(np.ones(self.rows, bool), derive_seed(self._seeds[0], "resume", self._steps) % 2**31)
        if state["environment"] is not None:
            self._called("load_state_dict", state["environment"])
            self.observation = np.array(state["observation"], np.float32)

    def close(self) -> None:
        if self._watching:
            self._watching = None
            WATCH.close(self._start_seconds)
        closed(self.env, place(self.name), self._start_seconds)


def _mapped(value: Any, function: Callable[[np.ndarray], Tensor]) -> Batch:
    """The arrays of an element of a Dict or Tuple space, each through a function."""
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    return tuple(_mapped(part, function) for part in value) if isinstance(value, tuple) else function(value)
