"""The Python API: train, resume and load runs."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import gymnasium

from operant.core import ranks, schema
from operant.core.errors import BadInput, apart
from operant.core.files import check_target, given_path
from operant.core.registry import LARGEST
from operant.core.run import Followed, RunDirectory, machine
from operant.core.schema import MOST_SEEDS, require
from operant.core.terminal import own_warnings
from operant.loops.base_policy import ensure_base_policy
from operant.loops.configuration import MOST_BUDGET, MOST_SEED, check_processes, configure_run, grow, members_of, sampling, spine_of, whole_number
from operant.loops.export import SUFFIXES, check_format, write_policy
from operant.loops.origin import Origin
from operant.loops.policy_files import Bare, load_policy
from operant.loops.progress import showing, stages
from operant.loops.results import episodes_argument, stack_evaluations, summary
from operant.loops.runner import Listener, Runner, Update
from operant.loops.track import check_trackers
from operant.loops.trust import require_trust
from operant.loops.videos import check_video, write_video
from operant.nets.actors import Policy
from operant.nets.elites import Elites
from operant.nets.graph import Graph
from operant.nets.lifted import PlainModule
from operant.worlds import make_world
from operant.worlds.base import Drawn, World
from operant.worlds.player import Player

VIDEO_STEPS = 400  # of the animation that a report shows


class Run:
    """A run on disk: what `operant.train` returns and `operant.load` opens."""

    def __init__(self, directory: RunDirectory, world: Any = None, trust: bool = False, policy: PlainModule | None = None):
        self.directory = directory
        self._trust, self._module = trust, policy
        self._policies: dict[tuple[str, int], Any] = {}
        self._stochastic: dict[int, Any] = {}  # of each seed what draws, for one call of `policy` after the other
        self._world = world

    def __repr__(self) -> str:
        return f"Run({str(self.directory.shown)!r})"

    @property
    def path(self) -> Path:
        """Its directory, absolute."""
        return self.directory.path

    @property
    def config(self) -> dict[str, Any]:
        return self.directory.config

    @property
    def result(self) -> dict[str, Any] | None:
        """The object that `operant train --json` prints, None while the run is not finished."""
        return self.directory.result

    @property
    def world(self):
        if self._world is None:
            if self.config.get("task_callable"):
                raise _unnamed(self.directory.shown, self.config, "load")
            require_trust(self.directory.shown, self.config, self._trust)
            self._world = make_world(self.config["task"], **self.config.get("options", {}))
        return self._world

    def load_policy(self, seed: int | None = None, which: str = "last") -> Any:
        """The trained policy of one seed (the first by default), `which` being "last" or "best"."""
        self._check_which(which)
        seed = self._seed(seed)
        if (which, seed) not in self._policies:
            self._policies[which, seed] = self._read_policy(self.world, seed, which)
        return self._policies[which, seed]

    def _seed(self, seed: int | None) -> int:
        """One of its seeds, the first by default. Raises `BadInput` for one that it does not have."""
        seeds = [self.config["seed"] + index for index in range(self.config["seeds"])]
        seed = seeds[0] if seed is None else _whole("seed", seed, 0, MOST_SEED)
        if seed not in seeds:
            raise BadInput(f"{self.directory.shown} has seeds {seeds[0]} to {seeds[-1]}, not {seed}")
        return seed

    @staticmethod
    def _check_which(which: str) -> None:
        if which not in ("last", "best"):
            raise BadInput(f"which={which!r}: 'last' or 'best'")

    def _read_policy(self, world: World | Bare, seed: int, which: str) -> Any:
        return load_policy(world, self.config, self.path / "policies" / which / f"seed-{seed}", seed, self._module)

    def policy(self, observation: Any, *, action_mask: Any = None, seed: int | None = None, step: int | None = None, stochastic: bool = False) -> Any:
        """The trained policy's mode at one observation, or at several with an axis in front, as the environment (`environment`) gives and takes them.

        Args:
            observation: of a Dict or Tuple space several are one whose every part has an axis in front, or a list.
            action_mask: where the environment gives one beside its observations, `info["action_mask"]` or `env.action_masks()`, of each observation.
            step: of the episode, counted from 0, where what is best hangs on it: of finite MDPs with a horizon.
            stochastic: what the policy draws, in the place of its mode: the draws go on from call to call, and begin anew where the run is loaded.

        Returns:
            an element of the environment's action space (a NumPy integer where it is Discrete), or an array of as many (of a Dict or Tuple space one in each
            part); of a game, whose observations are information sets by their names, the name of the likeliest move.

        Raises:
            BadInput: no observation or mask of this environment; a policy that remembers, which acts along episodes (`player`); one that hangs on the step,
                which is not given; or a text or sequence task, whose policy is a model that `load_policy` gives. With
                `stochastic`, a policy that draws nothing.
        """
        self._check_acts()
        policy = self.load_policy(seed)
        if _flag("stochastic", stochastic):
            whose = self._seed(seed)
            if whose not in self._stochastic:
                self._stochastic[whose] = self.world.stochastic_policy(policy, whose, 1)
            policy = self._stochastic[whose]
        before = None if step is None else self.world.carry_at(policy, observation, _whole("step", step, 0, LARGEST))
        action, carry = self.world.act(policy, observation, action_mask, before)
        if carry is not None and step is None:
            raise BadInput(self.world.along_episodes)
        return action

    def player(self, seed: int | None = None, *, stochastic: bool = False, draw: int = 1, raw: bool = False) -> Player:
        """The trained policy of one seed (the first by default) as it acts along episodes, with what it knows of them. As `policy` it takes what `environment`
        gives.

        Args:
            stochastic: it plays what the policy draws, in the place of its mode.
            draw: which draws; a player of the same number draws the same.
            raw: it takes what the task's own environment gives at each of its steps, and does by itself what options of the task do: stacks, the time,
                actions that last.

        Raises:
            BadInput: a task without observations, with `stochastic` a policy that draws nothing, or with `raw` a task whose observations are made of more than
                its environment gives (Atari).
        """
        self._check_acts()
        return self.world.player(self._playing(self.load_policy(seed), seed, stochastic, _whole("draw", draw, 0, MOST_SEED)), _flag("raw", raw))

    def environment(self, *, render_mode: str | None = None) -> gymnasium.Env:
        """One environment of the task as its policies see it and act in it: `run.policy`, and an exported policy, take its observations.

        Args:
            render_mode: as of `gymnasium.make`.

        Raises:
            BadInput: a task without single environments, or whose environment has no such `render_mode`.
        """
        return self.world.as_seen(render_mode)

    def _playing(self, policy: Any, seed: int | None, stochastic: bool, draw: int) -> Any:
        """A policy of one seed by its mode, or as it draws."""
        return self.world.stochastic_policy(policy, self._seed(seed), draw) if _flag("stochastic", stochastic) else policy

    def _check_acts(self) -> None:
        if not self.world.acts:
            where = self.directory.shown / "policies" / "last"
            raise BadInput(f"{self.config['task']} has no observations to act on: run.load_policy() gives its model, which is in {where}")

    def export(self, path: str | Path, *, format: str | None = None, seed: int | None = None, which: str = "last") -> dict[str, Any]:
        """Write the trained policy of one seed (the first by default) as a file that other programs run without Operant: its mode, from N observations as the
        environment gives them, an axis in front, to N actions as it takes them. What normalises, masks, scales and clips is within. No environment is made.

        Args:
            path: the file.
            format: "onnx" (extra: export) or "torch" (`torch.export.load(path).module()` takes inputs in the order that is returned, and gives a tuple); by
                default what the file's name ends in, `.onnx` or `.pt2`.
            which: "last" or "best".

        Returns:
            `{"file", "format", "method", "task", "seed", "which", "inputs", "outputs"}`, the last two lists of `{"name", "shape", "dtype"}`. A policy that
            remembers has an input "carry", 0 where an episode begins, and an output "next_carry".

        Raises:
            BadInput: a policy that is no network over observations, an unknown format, or a file that cannot be written.
        """
        shown = given_path(path, "the file to write")
        path = shown.absolute()  # an environment may change the working directory
        format = next((name for name, suffix in SUFFIXES.items() if path.suffix == suffix), None) if format is None else format
        if format is None:
            raise BadInput(f"{shown}: name a file that ends in {' or '.join(SUFFIXES.values())}, or give the format, {' or '.join(SUFFIXES)}")
        check_format(format)
        check_target(path)
        self._check_which(which)
        config, seed = self.config, self._seed(seed)
        world = Bare.of(config) or self.world
        policy = self._read_policy(world, seed, which)
        if not world.acts or not isinstance(policy, Policy | Elites):
            found = self.directory.shown / "policies" / which
            raise BadInput(f"{config['method']} on {config['task']} has no network over observations that could be exported; its policy is in {found}")
        about = {"method": config["method"], "task": config["task"], "seed": seed, "which": which}
        return {"file": str(shown), "format": format} | write_policy(path, Graph(policy.acting, world.action), format, about)

    @own_warnings()
    def evaluate(
        self,
        *,
        episodes: int | None = None,
        seed: int = 1,
        which: str = "last",
        stochastic: bool = False,
        decoder: str | None = None,
        samples: int | None = None,
    ) -> dict[str, Any]:
        """Score every seed's policy on episodes that training's own evaluations, whose seed is 0, did not see (of text: on new answers to held-out problems).

        Args:
            episodes: of each seed's policy; the task's own number by default.
            seed: of the episodes (of text, of the answers), the same ones for every policy. 0 gives those of training's own evaluations.
            stochastic: policies play what they draw, in the place of their modes; the same `seed` and `episodes` draw the same.
            decoder: of text, how a problem's completions become its answer (`worlds.text.decoders`); None as in training's own evaluations.
            samples: completions that the decoder has a problem, 16 by default.

        Returns:
            `{"score": …, "episodes", "seed"}`, the score as in a run's result; "stochastic" where it is; of a game also "strategies", of each seed what its
            policy does in each information set.

        Raises:
            BadInput: with `stochastic`, policies that draw nothing.
        """
        config = self.config
        episodes = None if episodes is None else _whole("episodes", episodes, 1, LARGEST)
        seed = _whole("seed", seed, 0, MOST_SEED)
        self._check_which(which)
        self.world.check_episodes(config["seeds"], episodes)
        if self.world.scored_by_base:
            ensure_base_policy(self.world, lambda line: None)
        found, strategies = [], []
        for index in range(config["seeds"]):
            policy = self._read_policy(self.world, config["seed"] + index, which)  # of this evaluation's own: a decoder, or what it draws, is no other's
            policy = self._playing(policy, config["seed"] + index, stochastic, seed)
            if decoder is not None:
                policy = self.world.decoded_policy(policy, decoder, 16 if samples is None else _whole("samples", samples, 1, LARGEST))
            found.append(self.world.evaluate(policy, 1, **episodes_argument(episodes), seed=seed))
            strategies += self.world.strategies(policy) if self.world.is_game else []
        evaluation = stack_evaluations(found)
        of = {"run": str(self.directory.shown), "method": config["method"], "task": config["task"], "episodes": evaluation.values.shape[1], "seed": seed}
        of |= {"stochastic": True} if stochastic else {}
        return of | summary(evaluation) | ({"strategies": strategies} if strategies else {})

    def draw_video(self) -> Path:
        """One episode of the first seed's policy as an animation in `videos/`. Raises `NothingToDraw` where the environment cannot draw, and `RunFailed` where
        the run cannot be written to."""
        target = self.path / "videos" / f"seed-{self.config['seed']}.gif"
        if target.exists():
            return target
        with closing(self._shown(self.load_policy(), 0, False, 1, VIDEO_STEPS, [])) as shown:
            write_video(target, shown, width=300, most_fps=12.5)
        return target

    def watch(
        self, path: str | Path | None, *, episodes: int = 1, draw: int = 1, seed: int | None = None, which: str = "last", stochastic: bool = False
    ) -> list[dict[str, Any]]:
        """Episodes of one seed's policy (the first by default), in a file or in a window.

        Args:
            path: a `.gif`, or an `.mp4` where there is ffmpeg; None for a window.
            draw: which episodes: the first is the first of an evaluation of that seed, the others go on from there.
            which: "last" or "best".
            stochastic: the policy plays what it draws, in the place of its mode; the same `draw` draws the same.

        Returns:
            `{"return", "steps", "cut"}` of each episode.

        Raises:
            NothingToDraw: the environment draws nothing, or cannot here.
            BadInput, RunFailed: the file's name, or that it cannot be written.
        """
        episodes, draw = _whole("episodes", episodes, 1, LARGEST), _whole("draw", draw, 0, MOST_SEED)
        if path is not None:
            path = given_path(path, "the file to write")
            check_video(path)
            check_target(path)
            path = path.absolute()  # an environment may change the working directory
        found: list[dict[str, Any]] = []
        policy = self._playing(self.load_policy(seed, which), seed, stochastic, draw)
        with closing(self._shown(policy, draw, path is None, episodes, None, found)) as shown:
            if path is None:
                for _ in shown:
                    pass
            else:
                write_video(path, shown)
        return found

    def _shown(self, policy: Any, draw: int, window: bool, episodes: int, most_steps: int | None, found: list[dict[str, Any]]) -> Iterator[Drawn]:
        """What is drawn until so many episodes, or so many steps of them, are over; `found` takes what came of each."""
        with closing(self.world.draw(policy, draw, window=window)) as drawn:
            for place, step in enumerate(drawn):
                if step.over or step.cut or place == most_steps:
                    found.append({"return": step.total, "steps": step.steps, "cut": not step.over})
                if not (step.over or step.cut) or len(found) < episodes:  # behind the last, what would be seen is another's start
                    yield step
                if place == most_steps or len(found) == episodes:
                    return


@own_warnings()
def train(
    method: str,
    task: Any,
    *,
    seeds: int = 1,
    seed: int = 0,
    steps: int | None = None,
    samples: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    every: int | None = None,
    keep: int = 2,
    episodes: int | None = None,
    track: tuple[str, ...] = (),
    policy: PlainModule | None = None,
    start_from: str | Path | None = None,
    preset: str | None = None,
    sample_workers: int | None = None,
    staleness: int | None = None,
    truncate_importance: float | None = None,
    sample_on: str | None = None,
    compile: bool = False,
    cuda_graphs: bool = False,
    progress: bool = True,
    listener: Listener | None = None,
    **hyperparameters: Any,
) -> Run:
    """Train `method` on `task` for several seeds and return the run.

    Args:
        method: a key of `operant methods`.
        task: `scheme:name`, a Gymnasium environment (which is copied) or a callable that makes one, or a world (such as
            `TextWorld("arithmetic", verifier=my_reward)`).
        seeds: how many; they are `seed, seed + 1, …`.
        steps: a seed, in the task's unit (environment steps, updates, iterations); rounded down to whole iterations of the method, one at least.
        samples, tokens, seconds: another budget in the place of steps, a seed: answers or tokens that are drawn in training (text and sequences), or seconds of
            training. The iteration that reaches it is the last.
        out: the run directory; a new one under `runs/` by default.
        device: "auto", "cpu" or "cuda".
        threads: of PyTorch; by default 1, and more where networks, batches and seeds make products wide, up to the cores or OMP_NUM_THREADS
            (`core.processor.fitting_threads`; always 1 where PyTorch was imported before Operant).
        every: steps (or what the budget counts) between two evaluations and checkpoints; a tenth of the budget by default.
        keep: how many checkpoints stay (at least 2).
        episodes: evaluation episodes (or problems) a seed.
        track: extra trackers, "tensorboard" or "wandb".
        policy: a `torch.nn.Module` in the place of the method's own actor network, from observations `[N, D]` to action logits or to a Gaussian's mean (SAC:
            mean and log standard deviation side by side), `[N, outputs]`; a picture comes as `[N, *shape]`, several fields as a dict. Every seed starts from
            its weights. Or a callable that makes one for each seed.
        start_from: another run whose policies training begins from, seed by seed (its first again where it has fewer): of the same or another method, on the
            same or another task, whose observations and actions have the same form. Where the method is the same, critics, target networks and running scales
            go along. Optimiser and replay are new. Nothing that the other run names is imported.
        preset: a name of settings that somebody tuned for this method on this task ("zoo", `operant presets`); what is given besides wins.
        sample_workers: processes beside this one that act in the environments, each with its own rows of them and a copy of the policy (`docs/scale.md`). The
            run has the bits that it has without them; 0 by default.
        staleness: updates that the weights which act may be behind those that learn from what they did, with `sample_workers`: sampling and learning then go on
            at the same time. 0 by default: each waits for the other.
        truncate_importance: with `staleness`, what older weights did is weighted by its ratio to them, so much at the most; so is what `engine="vllm"` drew.
        sample_on: the address of a Ray cluster on whose nodes the workers are ("auto", "local", `ray://HOST:PORT` or `HOST:PORT`); this machine by default.
        compile: the losses of updates go through `torch.compile`, whose code is kept for the next run. On a processor it has not paid (`docs/benchmarks.md`).
        cuda_graphs: updates on a GPU, of text the drawing of a token, are captured once and replayed, without Python between their kernels.
        progress: show progress on standard error, as the command line does: a live display on a terminal, a line now and then elsewhere.
        listener: a callable of each `Update` (phase, step, total, metrics, score, message, speed), which hears of progress instead.
        hyperparameters: fields of the method's dataclass, and options of the task's kind (a text task's `model`, `lora_rank`, `dtype`, `verifier`, …: fields
            of `worlds.text.options.TextOptions`); values or text.

    Raises:
        BadInput: anything that cannot be used, before anything is written.
        RunFailed: the run stopped itself.
        Interrupted: SIGINT or SIGTERM; the state is saved.
    """
    if listener is not None and not callable(listener):
        raise BadInput(f"listener {listener!r}: it is called with every Update, as in listener=print")
    here = Path.cwd()
    _not_again()
    ranks.join()
    if ranks.started_as() > 0:
        return _follow()
    with showing(f"{method} on {task}" if isinstance(task, str) else str(method), progress, listener) as hears:
        with stages(lambda line: hears and hears(Update("load", 0, 1, {}, None, line))) as say:
            origin = None if start_from is None else Origin.read(given_path(start_from, "--from"), method)
            config, world, spine = configure_run(
                method,
                task,
                seeds=seeds,
                seed=seed,
                steps=steps,
                samples=samples,
                tokens=tokens,
                seconds=seconds,
                device=device,
                threads=threads,
                every=every,
                episodes=episodes,
                policy=policy,
                hyperparameters=hyperparameters,
                origin=origin,
                preset=preset,
                sample_workers=sample_workers,
                staleness=staleness,
                truncate_importance=truncate_importance,
                sample_on=sample_on,
                compile=compile,
                cuda_graphs=cuda_graphs,
                say=say,
            )
        check_trackers(track)
        config |= {"keep": whole_number("keep", keep, 2, LARGEST), "track": list(track)}
        if ranks.started() > 1:
            config["processes"] = ranks.started()
            check_processes(spine, world, config)
        if out is None:
            name = world.task.partition(":")[2]
            name = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{method}-{Path(name).name if name.startswith('/') else name}").strip("-")
            out = Path("runs") / f"{name}-{datetime.now():%m%d-%H%M%S-%f}"
        directory = RunDirectory.create(out, config | machine(), keep, here)
        _lead(directory, config, resume=False)
        Runner(directory, config, world, spine, hears).run(resume=False)
    ranks.leave()
    return Run(directory, world, True, policy)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    """An argument that is a whole number between bounds, or `BadInput`."""
    return whole_number(name, value, low, high, "{}={}")


def _flag(name: str, value: Any) -> bool:
    """An argument that is True or False, or `BadInput`."""
    if not isinstance(value, bool):
        raise BadInput(f"{name}={value!r}: True or False")
    return value


def _not_again() -> None:
    """End a process that imports the script of another one, whose worker it is to become: what the script trains, it trains there. That one says so."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit('a script that starts processes is imported by them: what it runs must stand under `if __name__ == "__main__":`')


def _lead(directory: RunDirectory, config: dict[str, Any], *, resume: bool) -> None:
    """Tell the other processes of this run, where there are any, what it is; and whoever started them all, where."""
    ranks.share({"path": str(directory.path), "config": config, "resume": resume})
    ranks.note_run(directory.shown, config)


def _follow() -> Run | None:
    """The part in a run of a process that another one leads; None where there is nothing to do."""
    try:
        told = ranks.share()
    except RuntimeError as error:
        raise ranks.Lost("the first process ended before the run began") from error
    if told is None:
        return None
    directory, config = Followed.open(told["path"]), told["config"]
    require_trust(directory.path, config, True)
    world, spine = make_world(config["task"], **config.get("options", {})), spine_of(config)
    Runner(directory, config, world, spine, None).run(resume=told["resume"])
    ranks.leave()
    return Run(directory, world, True)


@own_warnings()
def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    sample_workers: int | None = None,
    sample_on: str | None = None,
    task: Any = None,
    policy: PlainModule | None = None,
    trust: bool = False,
    progress: bool = True,
    listener: Listener | None = None,
) -> Run:
    """Go on with a run that was stopped, from its newest whole checkpoint; a finished run is returned as it is, or goes on to more steps or seeds.

    Args:
        steps: train on to so many steps a seed, more than before. What changes along a run (annealing, schedules) goes on over the new length.
        seeds: train so many seeds, more than before; the new ones follow the others, and train after them.
        sample_workers, sample_on: as of `train`; by default as many as before. "here" is this machine. Where they were on a cluster it is to be said again:
            whoever is on one may run code here.
        task: the environment, or what makes it, again, for a run whose task was a Python object.
        policy: the plain module again, for a run that trained one.
        trust: import what the run names: the modules of an environment or a verifier, the file of its method.
        progress, listener: as of `train`.

    Raises:
        BadInput: no run that could go on, one that names code without `trust`, or fewer steps or seeds than it has.
    """
    _not_again()
    ranks.join()
    if ranks.started_as() > 0:
        return _follow()
    directory = RunDirectory.open(path)
    config = directory.config
    steps = None if steps is None else whole_number("steps", steps, 1, MOST_BUDGET)
    seeds = None if seeds is None else whole_number("seeds", seeds, 1, MOST_SEEDS)
    grown = steps is not None or seeds is not None
    if directory.result is not None and not grown:
        ranks.share()
        return Run(directory, None if task is None else make_world(task, **config.get("options", {})), trust, policy)
    require(config, schema.RUN_TO_GO_ON, directory.shown / "run.json")
    if config.get("not_resumable"):
        raise BadInput(f"{path} cannot be resumed: {config['not_resumable']}")
    if config.get("task_callable") and task is None:
        raise _unnamed(path, config, "resume")
    require_trust(directory.shown, config if task is None else config | {"task": ""}, trust)
    world = make_world(config["task"] if task is None else task, **config.get("options", {}))
    if world.fingerprint() != config["fingerprint"]:
        was, now = apart(config["fingerprint"], world.fingerprint())
        raise BadInput(f"{path} was trained on another task than this one: on {was}; this is {now}")
    if "sample_on" in config and sample_on is None and sample_workers != 0:
        where = f"the Ray cluster {config['sample_on']}"
        again = "--sample-on local again" if config["sample_on"] == "local" else "--sample-on with the address that it has now"
        raise BadInput(f"{path} had its workers on {where}: say {again}, or --sample-on here")
    if sample_workers is not None or sample_on is not None:
        count = config.get("sample_workers", 0) if sample_workers is None else sample_workers
        on = None if sample_on == "here" else sample_on
        kept = {name: value for name, value in config.items() if name not in ("sample_workers", "sample_on")}
        config = kept | sampling(count, config.get("staleness"), config.get("truncate_importance"), on, world.drawn_apart)
    spine = spine_of(config, policy)
    if sample_workers or sample_on is not None:
        spine.check(world, members_of(config, world.stacked)[0], config["steps"], config["episodes"])
    if grown:
        config = grow(config, world.stacked, steps, seeds, None if directory.result is None else directory.result["steps"])
    config = {name: value for name, value in config.items() if name != "processes"}
    if ranks.started() > 1:
        config["processes"] = ranks.started()
        check_processes(spine, world, config)
    with showing(f"{config['method']} on {world.task}", progress, listener) as hears:
        _lead(directory, config, resume=True)
        Runner(directory, config, world, spine, hears).run(resume=True)
    ranks.leave()
    return Run(directory, world, True, policy)


def _unnamed(path: str | Path, config: dict[str, Any], verb: str) -> BadInput:
    """What is said where a run's task can only be given again."""
    found = f"{path} trained on {config['task']}, a Python object that no module has under that name: in Python give it again, operant.{verb}(path, task=…)"
    return BadInput(f"{found}; a function or class at the top of a module, other than the script that runs, is found again by itself")


def load(path: str | Path, *, task: Any = None, policy: PlainModule | None = None, trust: bool = False) -> Run:
    """Open a run directory. Nothing in it is executed, and code that it names is imported, when its policy or its task is first needed, only with `trust`.

    Args:
        task: the environment, or what makes it, again, for a run whose task was a Python object.
        policy: the plain module again, for a run that trained one.

    Raises:
        BadInput: where it is no run.
    """
    directory = RunDirectory.open(path)
    return Run(directory, None if task is None else make_world(task, **directory.config.get("options", {})), trust, policy)
