"""The pictures of `operant report`: videos, drawn in a process of their own, since a drawing library that finds no display may abort its process, or wait for
ever; and maps of finite MDPs and regret, which are computed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operant.cli.children import with_its_parent
from operant.core.errors import BadInput, OperantError

if TYPE_CHECKING:
    from operant.evaluate.records import Curve, Run, StateMap

SECONDS = 300  # that drawing one episode may take
STATES, ROW = 400, 20  # states up to which a map is drawn; of a task without a picture, how many stand in a row
NO_VIDEO = 3  # exit code of the process that draws where it says why there is none


def draw(run: Run, trust: bool, imports: Sequence[str]) -> str:
    """Draw the video of a run that has none yet; why there is still none, empty where it has one now or nothing is to be drawn.

    Args:
        trust: import the code that the run names.
        imports: files to import first.
    """
    from operant.loops.trust import require_trust
    from operant.worlds import SCHEMES

    if run.result is None or run.videos:
        return ""
    scheme = SCHEMES.get(run.task.partition(":")[0])
    if scheme is None or not scheme.load().draws:
        return ""
    try:
        require_trust(run.path, run.manifest, trust)
    except BadInput as error:
        return str(error)
    words = [sys.executable, "-m", "operant.cli.drawing", str(run.path), "trust" if trust else "", *imports]
    try:
        drawn = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS, preexec_fn=with_its_parent())
    except subprocess.TimeoutExpired:
        return f"drawing took more than {SECONDS} s"
    if drawn.returncode in (0, NO_VIDEO):
        return drawn.stdout.strip()
    last = " ".join((drawn.stderr.strip().splitlines() or ["it said nothing"])[-1].split())
    return f"the process that drew ended with {_ending(drawn.returncode)}: {last}"


def state_map(run: Run, trust: bool) -> StateMap | None:
    """What the first seed's policy of a run on a finite MDP does, state by state; None of other runs, games among them, and where there are too many states.

    Raises:
        BadInput: the run cannot be loaded, or names code and `trust` was not given.
    """
    if run.result is None or not run.task.startswith("tabular:"):
        return None
    import torch

    from operant.core.random import Streams
    from operant.evaluate.records import StateMap
    from operant.loops.runs import load
    from operant.worlds.tabular.pomdp import HistoryMDP
    from operant.worlds.tabular.problems import cells

    loaded = load(run.path, trust=trust)
    if loaded.world.is_game:
        return None
    world, policy = loaded.world, loaded.load_policy()
    mdp = world.mdp(Streams(policy.seeds[:1]))
    if mdp.states > STATES:
        return None
    acts = policy.probabilities[:1].cpu()
    value, visits = mdp.value(acts)[0], mdp.occupancy(acts)[0].sum(-1)
    best = acts[0].argmax(-1)
    if isinstance(mdp, HistoryMDP):  # each history has a step of its own
        step = torch.cat([torch.full((here.stop - here.start,), number) for number, here in enumerate(mdp.histories.levels)])
        value, visits, best = (table.gather(0, step.unsqueeze(0)).squeeze(0) for table in (value, visits / mdp.horizon, best))
    elif mdp.horizon is not None:
        value, visits, best = value[0], visits.mean(0), best[0]
    if world.picture is None:
        places = [list(range(mdp.states))[begin : begin + ROW] for begin in range(0, mdp.states, ROW)]
        marks, shown = [[""] * len(row) for row in places], [str(action) for action in best.tolist()]
    else:
        places, shown = cells(world.picture), [world.arrows[action] for action in best.tolist()]
        marks = [[mark if mark in "GH#x" else "" for mark in row] for row in world.picture.splitlines()]
    first = (mdp.horizon or 1) > 1 and not isinstance(mdp, HistoryMDP)
    return StateMap(policy.seeds[0], places, marks, shown, value.numpy(), visits.numpy(), first)


def strategy(run: Run, trust: bool) -> list[dict[str, Any]]:
    """What the first seed's policy of a run on a game does in each information set; nothing of other runs.

    Raises:
        BadInput: the run cannot be loaded, or names code and `trust` was not given.
    """
    if run.result is None or not run.task.startswith("tabular:"):
        return []
    from operant.loops.runs import load

    loaded = load(run.path, trust=trust)
    return loaded.world.strategies(loaded.load_policy())[0] if loaded.world.is_game else []


def regret_curves(run: Run) -> list[Curve]:
    """The regret of a run that plays a finite MDP, against the episodes: one curve a seed, as its newest checkpoint has it; none of other runs.

    Raises:
        BadInput: no checkpoint is whole, or it is another learner's.
    """
    if not run.task.startswith("tabular:") or "regret" not in run.metric_names():
        return []
    import numpy as np

    from operant.core.run import RunDirectory

    state, _, _ = RunDirectory.open(run.path).checkpoints.load()
    try:
        found = state["learner"]["regret"]
        return [(np.array(found["points"], dtype=np.float64), values.double().numpy()) for values in found["curve"].T]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the checkpoint of {run.path} holds no regret: {error}") from error


def _ending(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.Signals(-code).name


def _main(path: str, trust: str, *imports: str) -> int:
    """What the process does."""
    from operant.core.registry import import_file
    from operant.loops.runs import load

    try:
        for file in imports:
            import_file(file)
        load(path, trust=bool(trust)).draw_video()
    except OperantError as error:
        print(" ".join(str(error).split()))
        return NO_VIDEO
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
