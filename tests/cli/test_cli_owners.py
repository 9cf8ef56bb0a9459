"""A hyper-parameter and an option of a task, or of the run, may have one name: who is meant is said, and nobody is misunderstood."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields

import pytest

from operant.cli.comparing import parse_compare
from operant.cli.main import COMMANDS
from operant.cli.training import RESERVED, fields_of, kinds_of, method_parser, parse_method, plain_names, task_options
from operant.core.errors import BadInput
from operant.core.registry import Count, Positive, _methods, get_method, method, methods
from operant.loops.configuration import split_names
from operant.loops.planning import Planning
from operant.loops.runs import train
from operant.worlds import world_options

PAIRS = [(key, kind) for key, entry in methods().items() for kind in entry.worlds]


@dataclass(frozen=True)
class Both:
    horizon: Count = 3  # steps that are looked ahead; tabular tasks have one too
    rate: Positive = 0.1  # nobody else's
    steps: Count = 5  # of the planner; runs have some too


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_methods, "entries", dict(_methods.entries))

    @method("both", family="mine", paper="none", worlds=("tabular", "gym"))
    def build(h: Both) -> Planning:
        """Both: a method for this test."""
        raise AssertionError

    return "both"


@pytest.mark.parametrize(("key", "kind"), PAIRS)
def test_every_name_of_a_method_and_its_tasks_reaches_its_owner(key: str, kind: str):
    entry = get_method(key)
    own = {item.name for item in fields(entry.hyperparameters)}
    optional = {item.name for item in fields(world_options()[kind])} if kind in world_options() else set()
    given = {f"{key}.{name}": 1 for name in own} | {f"task.{name}": 2 for name in optional}
    assert split_names(entry, kind, given) == (dict.fromkeys(own, 1), dict.fromkeys(optional, 2))
    alone = dict.fromkeys(own - optional, 1) | dict.fromkeys(optional - own, 2)
    assert split_names(entry, kind, alone) == (dict.fromkeys(own - optional, 1), dict.fromkeys(optional - own, 2))
    taken = {name for action in method_parser(entry, (kind,))._actions for name in action.option_strings}
    assert {f"--{name.replace('_', '-')}" for name in own ^ optional} - {f"--{name}" for name in RESERVED} <= taken
    assert {f"--{owner}.{name.replace('_', '-')}" for name in own & optional for owner in (key, "task")} <= taken


def test_what_runs_call_their_own_is_known():
    assert set(inspect.signature(train).parameters) - {"hyperparameters"} <= RESERVED


def read(words: str) -> dict[str, str]:
    return parse_method(COMMANDS["train"], words.split()).hyperparameters


def test_a_name_that_both_have_is_given_with_its_owner(both: str):
    assert read("both --task tabular:random-sparse --both.horizon 4 --task.horizon=9 --rate 1") == {"both.horizon": "4", "task.horizon": "9", "rate": "1"}
    entry = get_method(both)
    assert split_names(entry, "tabular", {"both.horizon": 4, "task.horizon": 9, "rate": 1.0}) == ({"horizon": 4, "rate": 1.0}, {"horizon": 9})
    for words in ("--horizon 4", "--horizon=4"):
        with pytest.raises(BadInput, match=r"horizon is a hyper-parameter of both and an option of its task: say which, both.horizon or task.horizon"):
            read(f"both --task tabular:random-sparse {words}")
    with pytest.raises(BadInput, match="say which, both.horizon or task.horizon"):
        split_names(entry, "tabular", {"horizon": 4})


def test_an_owner_may_always_be_named_and_a_plain_name_means_the_only_one(both: str):
    assert read("both --task gym:CartPole-v1 --horizon 4 --task.max-evaluation-steps 7") == {"horizon": "4", "max_evaluation_steps": "7"}
    assert read("both --task gym:CartPole-v1 --both.rate 2") == {"rate": "2"}
    assert split_names(get_method(both), "gym", {"horizon": 4}) == ({"horizon": 4}, {})
    for given, said in (({"rate": 1, "both.rate": 2}, "given twice"), ({"ppo.rate": 1}, "'ppo' has no settings here; it is both.rate")):
        with pytest.raises(BadInput, match=said):
            split_names(get_method(both), "gym", given)


def test_a_name_of_the_runs_own_is_the_runs(both: str):
    args = parse_method(COMMANDS["train"], "both --task gym:CartPole-v1 --steps 100 --both.steps 2".split())
    assert args.steps == 100 and args.hyperparameters == {"both.steps": "2"}


def test_a_comparison_says_whose_names_are_meant(both: str):
    words = "--methods both,vi-lcb --task tabular:random-sparse --both.horizon 4 --task.horizon 9 --rate 2 --discount 0.5"
    args = parse_compare(COMMANDS["compare"], words.split())
    assert args.options == {"horizon": "9", "discount": "0.5"}
    assert args.members == {
        "both": {"discount": "0.5", "task.horizon": "9", "rate": "2", "both.horizon": "4"},
        "vi-lcb": {"discount": "0.5", "horizon": "9"},
    }
    with pytest.raises(BadInput, match="say which, METHOD.horizon or task.horizon"):
        parse_compare(COMMANDS["compare"], "--methods both,vi-lcb --task tabular:random-sparse --horizon 4".split())


def test_words_of_other_methods_are_left_alone():
    own = fields_of(get_method("ppo"))
    assert plain_names(["--grpo.beta", "1", "--ppo.gamma=0.9"], ["ppo"], own, ("gym",)) == ["--grpo.beta", "1", "--gamma=0.9"]
    assert kinds_of(["--task", "nothing"], ("gym", "text")) == ("gym", "text") and kinds_of(["--task=text:sort"], ("gym", "text")) == ("text",)
    assert "max_new_tokens" in {item.name for items in task_options(("text",)).values() for item in items}
