"""`operant solve`: what is optimal in a finite MDP, computed."""

from __future__ import annotations

from argparse import Namespace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json, whole
from operant.cli.training import add_fields, read_fields, task_options
from operant.core.errors import BadInput

if TYPE_CHECKING:
    from operant.worlds.tabular.mdp import FiniteMDP
    from operant.worlds.tabular.pomdp import HistoryMDP
    from operant.worlds.tabular.world import TabularWorld

OPTIONS = ("states", "actions", "discount", "horizon", "observations", "revealing", "stock")  # of the task; the others are of data
FARTHEST = 200  # states up to which the diameter is computed: a policy iteration for each
STATES, STEPS = 15, 10  # rows of a table for a person


def _options() -> list:
    return [item for item in task_options(("tabular",))["tabular"] if item.name in OPTIONS]


def _arguments(parser: Parser) -> None:
    parser.add_argument("task", metavar="tabular:NAME", help="the finite MDP; tabular:PATH.npz is one of your own, tabular:gym/ID Gymnasium's of toy text")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="whose instance, where each seed has its own (default 0)")
    add_fields(parser, "options of the task", _options())
    add_json(parser)


def _solve(args: Namespace) -> int:
    from operant.worlds import check_name, kind_of, make_world

    if kind_of(args.task) != "tabular":
        raise BadInput(f"{args.task} is no finite MDP, whose solution could be computed: take one, such as tabular:river-swim")
    check_name(args.task)
    from operant.core.random import Streams

    world: TabularWorld = make_world(args.task, **read_fields(args, _options()))
    world.check_mdp(1)
    mdp = world.mdp(Streams([args.seed]))
    found = {"task": world.task, "seed": args.seed} | solution(mdp)
    if args.json:
        write_json(found)
    else:
        write(_text(found, world))
    return 0


def solution(mdp: FiniteMDP) -> dict[str, Any]:
    """What is optimal in one MDP, in plain numbers: values and the first best action of each state, with a horizon a list of each step's."""
    from operant.worlds.tabular.pomdp import HistoryMDP
    from operant.worlds.tabular.robust import UncertainMDP
    from operant.worlds.tabular.stock import StockMDP

    value, policy = mdp.optimum
    found = {
        "states": mdp.states,
        "actions": mdp.actions,
        "discount": mdp.discount,
        "horizon": mdp.horizon,
        "rewards": [mdp.reward.min().item(), mdp.reward.max().item()],
        "optimal_value": mdp.start_value(value)[0].item(),
        "value": value[0].tolist(),
        "policy": policy[0].argmax(-1).tolist(),
    }
    if isinstance(mdp, StockMDP):
        found["stocks"] = [{"state": state, "gained": stock * mdp.spacing} for state, stock in zip(mdp.state.tolist(), mdp.stock.tolist(), strict=True)]
    if isinstance(mdp, UncertainMDP):
        found["robust_optimum"] = mdp.start_value(mdp.robust_optimum[0])[0].item()
    if mdp.horizon is None:
        return found | {"effective_horizon": 1 / (1 - mdp.discount), "diameter": _diameter(mdp)}
    if isinstance(mdp, HistoryMDP):
        found |= _hidden(mdp)
    visits = mdp.occupancy(policy)[0]
    gained, left = (visits * mdp.reward[0]).sum((-2, -1)).tolist(), (visits.sum(-1) * value[0]).sum(-1).tolist()
    return found | {"by_step": [{"step": step, "reward": pays, "value": still} for step, (pays, still) in enumerate(zip(gained, left, strict=True))]}


def _hidden(mdp: HistoryMDP) -> dict[str, Any]:
    """What is hidden, what that costs, and how much is revealed; `states` are then histories, each with its step and in words."""
    revealed, histories = mdp.pomdp.revealed, mdp.histories
    return {
        "hidden_states": revealed.states,
        "observations": mdp.pomdp.observations,
        "optimal_value_revealed": revealed.start_value(revealed.optimum[0])[0].item(),
        "alpha": mdp.pomdp.revealing()[0].item() if find_spec("scipy") is not None else None,
        "histories": [{"step": step, "history": histories.text(place)} for step, here in enumerate(histories.levels) for place in range(here.start, here.stop)],
    }


def _diameter(mdp: FiniteMDP) -> dict[str, Any] | None:
    """The two states that are farthest apart, and how far; None of too many states."""
    from operant import ops
    from operant.worlds.tabular.sparse import SparseMDP

    if mdp.states > FARTHEST:
        return None
    transition = (mdp.dense() if isinstance(mdp, SparseMDP) else mdp).transition[0]
    farthest = {"steps": 0.0, "from": 0, "to": 0}
    for target in range(mdp.states):
        steps, begins = ops.hitting_times(transition, target).max(0)
        if steps > farthest["steps"]:
            farthest = {"steps": steps.item(), "from": int(begins), "to": target}
        if steps.isinf():
            break
    return farthest


def _text(found: dict[str, Any], world: TabularWorld) -> str:
    """The solution for a person: at most a screen of it."""
    horizon, low, high = found["horizon"], *found["rewards"]
    ends = f"episodes of {horizon} step{'s' * (horizon > 1)}" if horizon else f"discount {found['discount']:g}"
    facts = [("optimal value at the start", f"{found['optimal_value']:.6g}"), ("mean rewards", f"{low:g} to {high:g}")]
    if "histories" in found:
        facts.insert(1, ("with nothing hidden", f"{found['optimal_value_revealed']:.6g}"))
        facts.append(("hidden", f"{found['hidden_states']:,} states, which show {found['observations']:,} observations"))
        if found["alpha"] is not None:
            facts.append(("revealing constant of one step", f"{found['alpha']:.4g}"))
    if "robust_optimum" in found:
        facts.insert(1, ("in the worst case", f"{found['robust_optimum']:.6g}, of the policy that has most there"))
    if not horizon:
        facts.append(("effective horizon", f"1 / (1 - {found['discount']:g}) = {found['effective_horizon']:.4g} steps"))
        facts.append(("diameter", _diameter_text(found["diameter"])))
    value, policy = (found[name][0] if horizon else found[name] for name in ("value", "policy"))
    first = " at the first step" if horizon and horizon > 1 else ""
    states = "histories" if "histories" in found else "states"
    parts = [f"{found['task']}: {found['states']:,} {states}, {found['actions']:,} actions, {ends}", table(facts)]
    if world.picture is not None:
        parts += [f"an optimal policy and the values{first}", _map(world.picture, world.arrows, policy, value)]
    else:
        if "histories" in found:
            at = [(state, each["step"], each["history"]) for state, each in enumerate(found["histories"])]
            here = [(history, found["value"][step][state], found["policy"][step][state]) for state, step, history in at]
            head = ("history: seen o, done a", "optimal value from here on", "optimal action")
        else:
            names = [f"{each['state']} with {each['gained']:g}" for each in found["stocks"]] if "stocks" in found else map(str, range(len(value)))
            here = list(zip(names, value, policy, strict=True))
            head = ("state, and what was gained" if "stocks" in found else "state", f"optimal value{first}", "optimal action")
        rows = [(name, f"{worth:.6g}", str(action)) for name, worth, action in here[:STATES]]
        parts.append(table(rows, head, right=(1, 2) if "histories" in found else (0, 1, 2)))
        if len(here) > STATES:
            parts.append(f"and {len(here) - STATES:,} more {states}: --json has all")
    if horizon and horizon > 1:
        shown = sorted({round(place * (horizon - 1) / (min(horizon, STEPS) - 1)) for place in range(min(horizon, STEPS))})
        rows = [(str(step), f"{each['reward']:.4g}", f"{each['value']:.4g}") for step in shown for each in [found["by_step"][step]]]
        parts.append(table(rows, ("step", "expected reward", "optimum from here on"), right=(0, 1, 2)))
    return "\n\n".join(parts)


def _diameter_text(diameter: dict[str, Any] | None) -> str:
    if diameter is None:
        return f"not computed above {FARTHEST} states"
    way = f"from state {diameter['from']} to state {diameter['to']}"
    return f"infinite: no sure way {way}" if diameter["steps"] == float("inf") else f"{diameter['steps']:.4g} steps, {way}"


def _map(picture: str, arrows: str, policy: list[int], value: list[float]) -> str:
    """Where an optimal policy goes, and beside it the values; walls and what ends an episode are shown as the marks that they are."""
    from operant.worlds.tabular.problems import cells

    numbers = [text.replace("0.", ".", 1) if abs(x) < 1 else text for x in value for text in [f"{round(x, 2) + 0.0:.2f}"]]  # no -0.00
    width, lines = max(map(len, numbers)), []
    for row, states in zip(picture.splitlines(), cells(picture), strict=True):
        kept = [mark if state is None or mark in "GH" else None for mark, state in zip(row, states, strict=True)]
        ways = "".join(arrows[policy[state]] if mark is None else mark for mark, state in zip(kept, states, strict=True))
        worths = [(numbers[state] if mark is None else mark).rjust(width) for mark, state in zip(kept, states, strict=True)]
        lines.append(f"{ways}   {' '.join(worths)}")
    return "\n".join(lines)


COMMANDS = (
    Command(
        "solve",
        "Compute what is optimal in a finite MDP: values, a policy, and how far ahead one must look.",
        (
            "operant solve tabular:four-rooms",
            "operant solve tabular:river-swim --horizon 40",
            "operant solve tabular:gym/FrozenLake-v1 --discount 0.99",
            "operant solve tabular:random-sparse --states 50 --seed 3 --json",
            "operant solve tabular:tiger --horizon 4",
        ),
        _arguments,
        _solve,
    ),
)
