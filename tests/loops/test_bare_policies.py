"""Policies that are read again from what run.json says of observations and actions, which anybody may have written."""

from __future__ import annotations

import copy
import json

import pytest

from operant.core import schema
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.configuration import fields_of
from operant.loops.policy_files import Bare
from operant.worlds import make_world

NET = get_method("ppo").build(configure("ppo", {"hidden": (4,)})).policy
FIELDS = {task: fields_of(make_world(task)) for task in ("gym:CartPole-v1", "gym:Pendulum-v1")}
VALUES = (None, 7, -1, 0, 10**30, 1.5, float("nan"), "seven", "box", "discrete", "object", [], [-1], [10**6] * 3, ["inf"], ["-inf"], [[1]], {}, True)


def build(fields: object) -> None:
    config = {"method": "ppo", "task": "gym:x", "seeds": 1, "seed": 0, "steps": 1, "hyperparameters": {}, "fields": json.loads(json.dumps(fields))}
    Bare.of(schema.require(config, schema.RUN, "run.json")).policy(NET, Streams([0]))


@pytest.mark.parametrize("task", FIELDS)
def test_whatever_stands_there_is_refused_in_words_or_is_a_policy(task: str):
    build(FIELDS[task])
    refused = 0
    for side in ("observation", "action"):
        for name in ("name", "shape", "dtype", "kind", "counts", "starts", "low", "high", "role", "stack", "scaled"):
            for value in VALUES:
                fields = copy.deepcopy(FIELDS[task])
                fields[side][0][name] = value
                try:
                    build(fields)
                except BadInput as error:
                    assert "run.json" in str(error) and "\n" not in str(error)
                    refused += 1
    assert refused > 200


@pytest.mark.parametrize("fields", [None, [], {}, {"observation": []}, {"observation": [{}], "action": [{}]}, {"observation": "x", "action": "y"}])
def test_what_is_no_list_of_fields_is_refused(fields: object):
    with pytest.raises(BadInput, match="run.json"):
        build(fields)


def test_more_numbers_than_an_environment_can_have_are_refused():
    fields = copy.deepcopy(FIELDS["gym:CartPole-v1"])
    fields["observation"][0]["shape"] = [1_000_000, 2]
    with pytest.raises(BadInput, match="more than 1,000,000 numbers"):
        build(fields)
