"""`operant solve`: what is optimal in a finite MDP, or an equilibrium of a finite game, computed."""

from __future__ import annotations

from argparse import Namespace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from operant.cli.output import chances, strategy_table, table, write, write_json
from operant.cli.parser import Command, Parser, add_json, whole
from operant.cli.training import add_fields, read_fields, task_options
from operant.core.errors import BadInput
from operant.core.registry import value_text

if TYPE_CHECKING:
    from operant.worlds.tabular.games import FiniteGame
    from operant.worlds.tabular.mdp import FiniteMDP
    from operant.worlds.tabular.pomdp import HistoryMDP
    from operant.worlds.tabular.world import TabularWorld

OPTIONS = ("states", "actions", "discount", "horizon", "observations", "revealing", "stock", "rock", "kl_weight")  # of the task; the others are of data
FARTHEST = 200  # states up to which the diameter is computed: a policy iteration for each
STATES, STEPS = 15, 10  # rows of a table for a person
WIDE = 8  # actions up to which a joint distribution is shown


def _options() -> list:
    return [item for item in task_options(("tabular",))["tabular"] if item.name in OPTIONS]


def _arguments(parser: Parser) -> None:
    own = "tabular:PATH.npz and tabular:MODULE:NAME are of your own, tabular:gym/ID is Gymnasium's"
    parser.add_argument("task", metavar="tabular:NAME", help=f"the finite MDP or game; {own}")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="whose instance, where each seed has its own (default 0)")
    add_fields(parser, "options of the task", _options())
    add_json(parser)


def _solve(args: Namespace) -> int:
    from operant.worlds import check_name, kind_of, make_world

    if kind_of(args.task) != "tabular":
        raise BadInput(f"{args.task} is no finite MDP or game, whose solution could be computed: take one, such as tabular:river-swim")
    check_name(args.task)
    from operant.core.random import Streams

    world: Any = make_world(args.task, **read_fields(args, _options()))
    found, streams = {"task": world.task, "seed": args.seed}, Streams([args.seed])
    if world.is_game:
        world.check_game(1)
        found |= game_solution(world.game(streams))
    else:
        world.check_mdp(1)
        found |= solution(world.mdp(streams))
    if args.json:
        write_json(found)
    else:
        write(_game_text(found) if world.is_game else _text(found, world))
    return 0


def game_solution(game: FiniteGame) -> dict[str, Any]:
    """Of one game in plain numbers: of a zero-sum one an equilibrium, at each information set the probability of each move, of another one the correlated and
    coarse correlated equilibria whose payoffs have the largest sum."""
    found: dict[str, Any] = {"information_sets": game.shape[0], "sequences": _sequences(game), "zero_sum": game.total is not None}
    if game.preference:
        found |= {"preference": True, "kl_weight": game.kl_weight}
    if game.is_matrix:
        found["payoff"] = game.matrices[0].tolist()
    if game.total is not None:
        policy, value = game.equilibrium
        found |= {"value": value[0].tolist(), "exploitability": game.exploitability(policy)[0].item()}
        found["equilibrium"] = game.described(policy[0])
    elif game.is_matrix:
        found["moves"] = [list(moves) for moves in game.moves]
        for name, coarse in (("correlated", False), ("coarse_correlated", True)):
            joint = game.correlated(coarse=coarse)
            found[name] = {"joint": joint[0].tolist(), "value": (joint.unsqueeze(1) * game.matrices).sum((-2, -1))[0].tolist()}
    return found


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


def _game_text(found: dict[str, Any]) -> str:
    """The solution of a game for a person: at most a screen of it."""
    kind = "preference game" if found.get("preference") else "zero-sum game" if found["zero_sum"] else "general-sum game"
    if found.get("kl_weight"):
        kind += f" with KL weight {found['kl_weight']:g}"
    size = f"{found['information_sets']:,} information sets, {found['sequences'][0]:,} and {found['sequences'][1]:,} sequences"
    if "payoff" in found:
        size = f"{len(found['payoff'][0]):,} × {len(found['payoff'][0][0]):,} actions"
    parts = [f"{found['task']}: {kind} of two players, {size}"]
    if found["zero_sum"]:
        first, second = (f"{value + 0.0:.6g}" for value in found["value"])
        exploitability = f"{found['exploitability']:.1e}" if found["exploitability"] else "0"
        parts.append(table([("value", f"{first} for the first player, {second} for the second"), ("exploitability of what follows", exploitability)]))
        if "payoff" in found:
            parts += ["an equilibrium", table([(each["seen"], chances(each["policy"])) for each in found["equilibrium"]])]
        else:
            parts += ["an equilibrium, where its own moves lead", strategy_table(found["equilibrium"])]
        return "\n\n".join(parts)
    if "correlated" not in found:
        return "\n\n".join([*parts, "an equilibrium is computed of zero-sum games and of matrix games"])
    for name, words in (("correlated", "correlated equilibrium"), ("coarse_correlated", "coarse correlated equilibrium")):
        joint, value = found[name]["joint"], found[name]["value"]
        rows = [(mine, *(f"{chance:.4g}" for chance in row)) for mine, row in zip(found["moves"][0], joint, strict=True)]
        parts.append(f"the {words} of the largest sum of payoffs: {value[0]:.6g} and {value[1]:.6g}")
        if len(joint) <= WIDE and len(joint[0]) <= WIDE:
            parts.append(table(rows, ("", *found["moves"][1]), right=range(1, 1 + len(joint[0]))))
    return "\n\n".join(parts)


def _sequences(game: FiniteGame) -> list[int]:
    """How many sequences both players have, the empty one among them."""
    return [1 + int(game.available[game.player == player].sum()) for player in (0, 1)]


def _text(found: dict[str, Any], world: TabularWorld) -> str:
    """The solution for a person: at most a screen of it."""
    horizon, low, high = found["horizon"], *found["rewards"]
    ends = f"episodes of {horizon} step{'s' * (horizon > 1)}" if horizon else f"discount {value_text(found['discount'])}"
    facts = [("optimal value at the start", f"{found['optimal_value']:.6g}"), ("mean rewards", f"{low:g} to {high:g}")]
    if "histories" in found:
        facts.insert(1, ("with nothing hidden", f"{found['optimal_value_revealed']:.6g}"))
        facts.append(("hidden", f"{found['hidden_states']:,} states, which show {found['observations']:,} observations"))
        if found["alpha"] is not None:
            facts.append(("revealing constant of one step", f"{found['alpha']:.4g}"))
    if "robust_optimum" in found:
        facts.insert(1, ("in the worst case", f"{found['robust_optimum']:.6g}, of the policy that has most there"))
    if not horizon:
        facts.append(("effective horizon", f"1 / (1 - {value_text(found['discount'])}) = {found['effective_horizon']:.4g} steps"))
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
        "Compute what is optimal in a finite MDP: values, a policy, and how far ahead one must look; or an equilibrium of a finite game.",
        (
            "operant solve tabular:four-rooms",
            "operant solve tabular:river-swim --horizon 40",
            "operant solve tabular:gym/FrozenLake-v1 --discount 0.99",
            "operant solve tabular:random-sparse --states 50 --seed 3 --json",
            "operant solve tabular:tiger --horizon 4",
            "operant solve tabular:kuhn-poker",
        ),
        _arguments,
        _solve,
    ),
)
