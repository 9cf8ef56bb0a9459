"""What every world and every source of rollouts offers: a loop and the runner ask by these names, and a world that lacks a channel says so in one line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.core.seeds import derive_seed
from operant.core.spec import Spec
from operant.nets.actors import Policy, Stochastic
from operant.nets.elites import Elites
from operant.worlds.levels import Levels, Outcomes
from operant.worlds.player import Player
from operant.worlds.store import Store

if TYPE_CHECKING:
    import gymnasium

    from operant.nets.policy import TrainedPolicy
    from operant.worlds.gym.episodes import Episodes
    from operant.worlds.gym.experience import Experience, Online, Stream
    from operant.worlds.gym.goals import Goals
    from operant.worlds.gym.starts import Starts
    from operant.worlds.tabular.games import FiniteGame
    from operant.worlds.tabular.mdp import FiniteMDP, Samples

OTHER_DRAWS = "other-draws"  # of what resumes: a part draws what it will not draw again
BYTES_A_TOKEN = 64  # at the least, that a batch keeps of one: the token, probabilities, entropy, mask, reward, advantage and their copies


class SamplingPlan:
    """How rollouts are sampled; each kind of world has plans of its own (`Steps` of environments, `worlds.plans.Plan` where policies write).

    Attributes:
        prompts: groups of rows an iteration, n rows in each.
        temperature: of the softmax that is sampled from and trained, or a function that adapts what is drawn; None leaves the policy's.
    """

    prompts: int = 1
    n: int = 1
    temperature: Callable[[Tensor], Tensor] | float | None = None

    @property
    def iteration_rows(self) -> int:
        """Rows of an iteration, a seed: of steps where an environment is stepped, of answers that are written side by side."""
        return self.prompts * self.n


@dataclass(frozen=True)
class SampleWorkers:
    """Processes beside the one that trains, which gather its experience.

    Attributes:
        count: how many.
        staleness: updates that the weights which act may be behind those that learn from what they did. 0: sampling and learning wait for each other.
        option: what `count` was given by, for messages.
        on: the address of a Ray cluster on whose nodes they are ("auto", "local", `ray://HOST:PORT` or `HOST:PORT`); None for this machine.
    """

    count: int
    staleness: int = 0
    option: str = "--sample-workers"
    on: str | None = None

    @property
    def given(self) -> str:
        """Start of a message about them."""
        return f"{self.option} {self.count}"


class NothingToDraw(BadInput):
    """An environment draws nothing, or cannot on this machine."""


@dataclass(frozen=True)
class Drawn:
    """What is seen of an episode at a step.

    Attributes:
        picture: `[height, width, 3]` uint8; None in a window. Where the episode is over it may be that of the next one's start.
        fps: steps that are a second of the environment's time.
        total: sum of rewards so far. steps: of the episode so far.
        over: the episode ended with this step. cut: it was still going on, and was cut.
    """

    picture: np.ndarray | None
    fps: float
    total: float
    steps: int
    over: bool
    cut: bool


class World:
    """A task as loops see it.

    Attributes:
        kind: "gym", "data", "text", "preferences", "sequences", "generative", "agents" or "tabular"; methods say which kinds they train on.
        option_type: the dataclass of the options of its tasks; None for none.
        step_unit: what a step of a run is.
        answers: policies answer prompts. A budget may then count answers and tokens, and a run's result stands beside that of the policy that it began with.
        acts: policies act on observations (`act`).
        draws: episodes of a policy can be drawn (`draw`).
        exact: evaluations are computed and draw nothing.
        is_game: a policy is both players' in a finite game (`game`).
        makes_base: policies start from a base policy, which is made once and kept, where no model was given.
        scored_by_base: what a policy is evaluated on is made by the base policy.
        sampled_beside: processes beside the one that trains can gather its experience (`SampleWorkers`).
        drawn_apart: what draws its rollouts computes by itself, so that the log-probabilities that it draws with are not quite the policy's.
        task: the whole name; a file stands in it with its absolute path, so that a run goes on from anywhere.
        stacked: seeds share one learner.
        score: the name of what `evaluate` measures.
        notes: what a person should know before a run, a line each.
        parameters: of the language model that a person gave; 0 where none was.
        learning_rate_scale: what default learning rates are multiplied by.
        to_check: what `check` looks at, in words, where that may take a while.
        longest: tokens of the longest answer, where there are answers.
        observation: what an observation consists of, where a policy acts in an environment.
        action: what an action consists of, where a policy acts in an environment; None where it writes tokens.
        action_space: the environment's own, for messages.
        bfloat16: updates compute the wide products of their networks in bfloat16.
        levels: what an episode's physics may be made of; None where they are always the same.
        given_rows: copies of the environment that a person gave as one vector environment; None where they gave what makes any number.
        modules: of Python, by name, in which stands what the task's name means; those of a person's own are in files that a run remembers.
        named: a task that was given as a Python object is found again by its name.
        files: of the cache, files and folders that it was found to read; what its name and options name comes besides.
    """

    kind: ClassVar[str]
    option_type: ClassVar[type | None] = None
    step_unit: ClassVar[str]
    answers: ClassVar[bool] = False
    acts: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    is_game: ClassVar[bool] = False
    makes_base: ClassVar[bool] = False
    scored_by_base: ClassVar[bool] = False
    sampled_beside: ClassVar[bool] = False
    drawn_apart: bool = False
    default_steps: ClassVar[int]

    task: str
    stacked: bool
    score: str
    notes: Sequence[str] = ()
    parameters: int = 0
    learning_rate_scale: float = 1.0
    to_check: str = ""
    longest: int
    observation: Spec
    action: Spec | None = None
    action_space: Any
    levels: Levels | None = None
    given_rows: int | None = None
    bfloat16: bool = False
    modules: Sequence[str] = ()
    named: bool = False
    files: Sequence[Path] = ()

    # A run is configured

    def base_world(self) -> World:
        """The world whose base policy training starts from, where `makes_base`."""
        return self

    def steps_of(self, loop: str) -> int:
        """Steps of a run that is given no budget.

        Args:
            loop: what trains, in words ("policy gradient").
        """
        return self.default_steps

    def device(self) -> torch.device:
        """Where a run trains that is not told: small networks on the processor."""
        return torch.device("cpu")

    def fingerprint(self) -> str:
        """What must be the same when a run goes on."""
        raise NotImplementedError

    def notes_on(self, policy: TrainedPolicy) -> list[str]:
        """What a person should know of a new policy that acts here, a line each."""
        return []

    def row_bytes(self, widths: Sequence[int] = ()) -> int:
        """Memory, at the least, of one row of a batch that goes through layers of these widths."""
        return self.longest * BYTES_A_TOKEN

    def check(self, plan: SamplingPlan | None, seeds: Sequence[int], episodes: int | None = None, *, workers: SampleWorkers | None = None) -> None:
        """Raise `BadInput` for what would stop a run later.

        Args:
            plan: how rollouts are sampled; None where none are.
            episodes: of an evaluation; None for the task's own number.
            workers: processes that sample; None for this one.
        """
        self.check_episodes(len(seeds), episodes)
        self.check_workers(workers)
        if plan is not None:
            self.check_source(plan, len(seeds), workers)

    def check_workers(self, workers: SampleWorkers | None) -> None:
        """Raise `BadInput` where the process that trains is the only one that can gather its experience."""
        if workers is not None and not self.sampled_beside:
            instead = "" if self.stacked else "; --processes lets several write the answers of one run"
            raise BadInput(f"{workers.given}: {self.task} is sampled by the process that trains; leave it out{instead}")

    def check_episodes(self, seeds: int, episodes: int | None) -> None:
        """Raise `BadInput` where an evaluation cannot have as many."""

    def check_source(self, plan: SamplingPlan, seeds: int, workers: SampleWorkers | None) -> None:
        """Raise `BadInput` where there are no rollouts of this plan."""
        raise BadInput(f"{self.task} has no rollouts: a policy-gradient method needs an environment (gym:) or a problem set (text:, sequences:)")

    def decided(self, plan: SamplingPlan, workers: SampleWorkers) -> dict[str, Any]:
        """Options that were left open, and on which the bits of what such workers sample hang."""
        return {}

    def check_experience(self, plan: Online, seeds: int, total_steps: int, workers: SampleWorkers | None = None) -> None:
        """Raise `BadInput` where there are no steps to act in, or no memory to keep them."""
        raise BadInput(f"{self.task} has no steps to act in: an online method needs an environment (gym:)")

    def check_goals(self) -> None:
        """Raise `BadInput` where outcomes have no rewards under other goals than those that were set."""
        raise BadInput(f"hindsight: {self.task} has no goals: a method gives them in hindsight in an environment that has some, such as gym:bit-flip")

    def check_stream(self, seeds: int) -> None:
        """Raise `BadInput` where there are no steps to act in, one after the other."""
        raise BadInput(f"{self.task} has no steps to act in: a streaming method needs an environment (gym:)")

    def check_data(self, *, rewards: bool = True) -> None:
        """Raise `BadInput` where there are no logged transitions to learn values from, or none with `rewards` where these are needed."""
        raise BadInput(f"{self.task} is no data set of transitions: an offline method needs one (ogbench:, data:, minari:)")

    def check_demonstrations(self) -> None:
        """Raise `BadInput` where there is nothing to imitate."""
        raise BadInput(f"{self.task} has no demonstrations: a supervised method needs a data set (ogbench:, data:, minari:)")

    def check_play(self, seeds: int, episodes: int) -> None:
        """Raise `BadInput` where there are no episodes to play, or not as many at a time."""
        raise BadInput(f"{self.task} has no episodes to play: take an environment (gym:)")

    def check_levels(self) -> Levels:
        """The levels of its episodes. Raises `BadInput` where there are none."""
        if self.levels is None:
            raise BadInput(f"{self.task} has no levels to choose from: a curriculum needs an environment that has (gym:cartpole-levels)")
        return self.levels

    def check_mdp(self, seeds: int) -> None:
        """Raise `BadInput` where there is no finite MDP, or no memory for one."""
        raise BadInput(f"{self.task} is no finite MDP: a planner needs one (tabular:)")

    def check_game(self, seeds: int) -> None:
        """Raise `BadInput` where there is no finite game, or no memory for one."""
        raise BadInput(f"{self.task} is no finite game: a method that plays against itself needs one, such as tabular:rock-paper-scissors")

    def check_samples(self, seeds: int) -> None:
        """Raise `BadInput` where there are no logged transitions of a finite MDP, or no memory for them."""
        self.check_mdp(seeds)

    def check_preferences(self, net: Any) -> None:
        """Raise `BadInput` where there are no pairs of answers to prefer one of, or none that such a network can be trained on.

        Args:
            net: as of `policy`.
        """
        raise BadInput(f"{self.task} has no preferences: a preference method needs pairs of answers (preferences:, sequences:)")

    def check_teacher(self) -> None:
        """Raise `BadInput` where there is no teacher to follow, nor can one be made."""
        raise BadInput(f"{self.task} has no teacher to follow")

    # Training asks for channels

    def policy(self, net: Any, streams: Streams) -> nn.Module:
        """The policy that training starts from, every seed's, or the one seed's where seeds are not stacked.

        Args:
            net: how the method's network is built; None where the world brings its own.
        """
        raise NotImplementedError

    def source(self, plan: SamplingPlan, streams: Streams, *, workers: SampleWorkers | None = None) -> Source:
        """Rollouts of a plan, for policy gradients. Raises as `check_source`."""
        self.check_source(plan, len(streams.seeds), workers)
        raise NotImplementedError

    def experience(self, plan: Online, policy: Policy, streams: Streams, total_steps: int, *, workers: SampleWorkers | None = None) -> Experience:
        """What a policy does in the environment, kept in a store, for value learning online. Raises as `check_experience`."""
        self.check_experience(plan, len(streams.seeds), total_steps, workers)
        raise NotImplementedError

    def goals(self) -> Goals:
        """What outcomes are worth under other goals, for goals in hindsight. Raises as `check_goals`."""
        self.check_goals()
        raise NotImplementedError

    def stream(self, streams: Streams) -> Stream:
        """One environment a seed, stepped and not kept, for streaming methods. Raises as `check_stream`."""
        self.check_stream(len(streams.seeds))
        raise NotImplementedError

    def data(self, policy: Policy, device: torch.device, *, rewards: bool = True) -> Store:
        """All logged transitions, actions in the policy's units, for value learning on data. Raises as `check_data`."""
        self.check_data(rewards=rewards)
        raise NotImplementedError

    def demonstrations(self, policy: TrainedPolicy, batch_size: int, streams: Streams) -> Demonstrations:
        """Batches of what a good policy did, for supervised methods. Raises as `check_demonstrations`."""
        self.check_demonstrations()
        raise NotImplementedError

    def mdp(self, streams: Streams) -> FiniteMDP:
        """The finite MDP of each seed, for planners that know it. Raises as `check_mdp`."""
        self.check_mdp(len(streams.seeds))
        raise NotImplementedError

    def game(self, streams: Streams) -> FiniteGame:
        """The finite game of each seed. Raises as `check_game`."""
        self.check_game(len(streams.seeds))
        raise NotImplementedError

    def samples(self, streams: Streams) -> Samples:
        """Logged transitions of each seed's finite MDP, for planners from data. Raises as `check_samples`."""
        self.check_samples(len(streams.seeds))
        raise NotImplementedError

    def play(self, policy: Policy, seeds: int, episodes: int, seed: int, most_steps: int, *, record: bool = False) -> Episodes:
        """Episodes of the policies' modes, all of them in rows of their own; the same `seed` starts them alike for every policy. Raises as `check_play`.

        Args:
            record: keep their steps.
        """
        self.check_play(seeds, episodes)
        raise NotImplementedError

    def at(self, level: Sequence[float]) -> World:
        """The same task at one level. Raises as `check_levels`, and for a level that it does not have."""
        self.check_levels()
        raise NotImplementedError

    def begun_at(self, starts: Starts) -> World:
        """The same task whose training episodes begin elsewhere; evaluations stay those of the task. Raises `BadInput` where that cannot be."""
        raise BadInput(f"{self.task} has no simulator whose states could be kept: take an environment (gym:)")

    def starts(self, policy: Any, episodes: int, seed: int, most_steps: int) -> tuple[list[list[dict]], np.ndarray]:
        """The states that a policy went through, and what was seen in each, for `begun_at`. Raises as that."""
        raise BadInput(f"{self.task} has no simulator whose states could be kept: take an environment (gym:)")

    def preferences(self, streams: Streams) -> Preferred:
        """Pairs of answers, of which one is preferred. Raises as `check_preferences`."""
        self.check_preferences(None)
        raise NotImplementedError

    def teacher(self, seeds: int = 1) -> TrainedPolicy:
        """A good policy to follow, frozen. Raises as `check_teacher`."""
        self.check_teacher()
        raise NotImplementedError

    # A policy is used

    def evaluate(self, policy: Any, seeds: int, *, episodes: int, seed: int = 0) -> Evaluation:
        """Score of each seed's policy on `episodes` fresh episodes or held-out problems; the same `seed` draws the same ones."""
        raise NotImplementedError

    def decoded_policy(self, policy: Any, decode: str, samples: int) -> Any:
        """A policy that answers in evaluations by a decoder of `samples` completions a problem."""
        raise BadInput(f"{self.task} is not answered by completions of which a decoder could choose; leave --decoder out (in Python decoder)")

    def stochastic_policy(self, policy: Any, seed: int, draw: int) -> Any:
        """A policy that plays what it draws, in the place of its mode.

        Args:
            seed: whose policy it is. draw: which draws, of that seed's.

        Raises:
            BadInput: one that draws nothing, or does not act in an environment.
        """
        leave = "leave --stochastic out (in Python stochastic)"
        if not self.acts or self.exact:
            known = "evaluations are computed from all of a policy's probabilities" if self.exact else "its policies do not act in an environment"
            raise BadInput(f"{self.task}: {known}; {leave}")
        if isinstance(policy, Elites):
            policy = policy.acting
        if not isinstance(policy, Policy):  # the baseline, which draws anyway
            return policy
        if not policy.stochastic:
            raise BadInput(f"{self.task}: this policy ({policy.consists}) draws nothing, its mode is all that it has; {leave}")
        return Stochastic(policy, Streams([derive_seed(seed, "stochastic", draw)]))

    def strategies(self, policy: Any) -> list[list[dict[str, Any]]]:
        """What each seed's policy of a game does, information set by information set (`FiniteGame.described`); where `is_game`."""
        raise NotImplementedError

    def act(self, policy: Any, observation: Any, action_mask: Any = None, carry: Tensor | None = None) -> tuple[Any, Tensor | None]:
        """The policy's mode at one observation, or at several with an axis in front, both as the environment has them, and what the policy carries on.

        Args:
            action_mask: which choices are allowed (of each observation), where that does not stand in an observation.
            carry: as this gave it at the observations before; None where episodes begin.
        """
        raise BadInput(f"{self.task} has no observations to act on")

    def player(self, policy: Any, raw: bool = False) -> Player:
        """One seed's policy along episodes; `raw`: at what the environment gives, where policies see something else."""
        return Player(self, policy)

    def as_seen(self, render_mode: str | None) -> gymnasium.Env:
        """One environment as policies see it and act in it. Raises `BadInput` where there is none."""
        raise BadInput(f"{self.task} has no single environment that could be stepped by itself")

    @property
    def along_episodes(self) -> str:
        """How a policy that carries something on is asked, for a person who asked it without."""
        return "this policy remembers its episode: act = run.player(), then act(observation), and act.reset() where an episode begins"

    def carry_at(self, policy: Any, observation: Any, step: int) -> Tensor | None:
        """What a policy carries at one step of an episode, counted from 0, for an observation or for several, where that is all that it carries.

        Raises:
            BadInput: it is not, or there is no such step.
        """
        raise BadInput(f"{self.task}: step is given, and what its policies do hangs on no count of steps: leave it out")

    def draw(self, policy: Any, seed: int, *, window: bool = False) -> Iterator[Drawn]:
        """Episodes of one seed's policy as they are drawn step by step, without end; the same `seed` starts them as in an evaluation of that seed.

        Args:
            window: in a window, without pictures.

        Raises:
            NothingToDraw: there is nothing to see, or not on this machine.
        """
        raise NothingToDraw(f"{self.task} has nothing to draw")

    def close(self) -> None:
        """Let go of what evaluations hold open; it is taken up again when it is needed."""


def check_carried(carry: Tensor | None, rows: int) -> None:
    """Raise `BadInput` where what a policy carries on is of another number of episodes than there are observations."""
    if carry is not None and carry.shape[1] != rows:
        raise BadInput(f"{rows} observations, and what the policy remembers is of {carry.shape[1]} episodes: as many each time, or begin anew")


@dataclass(frozen=True)
class GivenRows:
    """Rows that a policy replays.

    Attributes:
        inputs, action: as `policy.replay` takes them.
        mask: `[S, n, T]`, the steps that somebody chose.
    """

    inputs: dict[str, Tensor]
    action: Tensor
    mask: Tensor


class Preferred:
    """Pairs of answers to the same prompt, of which one is preferred: a finite table, on the device of the run.

    Attributes:
        size: pairs, the same number for every seed.
    """

    size: int

    def rows(self, index: Tensor) -> GivenRows:
        """The rows of pairs `index [S, B]`, `[S, 2B, …]`: the preferred answer of each pair in front of the other."""
        raise NotImplementedError


class Demonstrations(Protocol):
    """Batches of what a good policy did."""

    def draw(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs, action, mask) of the next batch, as `TrainedPolicy.replay` takes them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Source:
    """Rollouts of one plan.

    Attributes:
        describes: its rows are text that a person can read (`describe`).
        resume: "bitwise", "episode-boundary" where an environment cannot give its state, or `OTHER_DRAWS`.
        progress: share of the run that is done; whoever runs the loop sets it.
        steps_per_sample: steps of one seed in one `sample`.
        cuda_graphs: what draws on a GPU may be captured, and replayed; whoever runs the loop sets it.
    """

    describes: ClassVar[bool] = False
    cuda_graphs: bool = False
    resume: str = "bitwise"
    progress: float = 0.0
    steps_per_sample: int = 1

    def sample(self, policy: TrainedPolicy, version: int) -> Rollout:
        """One iteration's rollout, its rewards still 0."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait for what other processes gather for later rollouts."""

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What a source with this state learned of rewards, each tensor `[S, …]`."""
        return {}

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        """Take over what another run's source learned, as `learned` says."""

    def score(self, rollout: Rollout) -> Rollout:
        """The rollout with its rewards."""
        return rollout

    def measure(self, names: Collection[str], rollout: Rollout, policy: TrainedPolicy) -> dict[str, Tensor]:
        """What this world can say of a scored rollout's rows beyond their reward, of what is asked, `[S, N]` each."""
        return {}

    def assign(self, levels: np.ndarray) -> None:
        """The levels `[R, Q, d]` of the next Q episodes of each of R rows, where episodes have levels: those of seed s are rows `[s·N, (s+1)·N)`."""
        raise BadInput("this source's episodes have no levels to assign")

    def outcomes(self) -> Outcomes:
        """The episodes that ended since this was asked last, with their levels, where they have some."""
        raise BadInput("this source's episodes have no levels to tell of")

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """What a person wants to see of a scored rollout, `[S]` by name."""
        return {}

    def notes(self) -> list[str]:
        """What a person should know before rollouts are scored, a line each."""
        return []

    def report(self) -> dict[str, Any]:
        """What came of scoring so far: "statuses", "restarts", "messages"; empty where nothing can fail."""
        return {}

    def describe(self, rollout: Rollout, rows: Sequence[int]) -> list[dict]:
        """Rows of a rollout for a person to read; empty where there is nothing to read."""
        return []

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """End what samples or scores in other processes."""
