"""What a person may choose of a finite MDP besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant.core.registry import Count, Range
from operant.worlds.options import TaskOptions


@dataclass(frozen=True)
class TabularOptions(TaskOptions):
    states: Annotated[int | None, Range(1)] = None  # how many there are, of tasks of any size; none for the task's own number
    actions: Annotated[int | None, Range(2)] = None  # how many there are, of tasks of any number; none for the task's own number
    discount: Annotated[float | None, Range(0, 1, open_high=True)] = None  # of rewards, a step; none for the task's own
    horizon: Annotated[int | None, Range(1)] = None  # steps of an episode, whose rewards are then not discounted; none for the task's own, or no end
    batch: Annotated[int | None, Range(1)] = None  # episodes that methods that play are told of together, of tasks that tell late; none for the task's own
    delay: Annotated[int | None, Range(0)] = None  # batches by which they are told later, of such tasks; none for the task's own
    rock: Annotated[float | None, Range(0, open_low=True)] = None  # what a win by rock pays, of rock-paper-scissors; none for 1
    kl_weight: Annotated[float | None, Range(0)] = None  # of preference games, what leaving the reference policy costs; none for the task's own
    transitions: Count = 10_000  # logged transitions of each seed, for methods that plan from data
    concentrability: Annotated[float | None, Range(1)] = 4.0  # C*: by how much data have an optimal policy's pairs more rarely; none: all pairs alike
    observations: Annotated[int | None, Range(2)] = None  # how many can be seen, of partly observed tasks of any number; none for the task's own number
    stock: Annotated[float | None, Range(0, open_low=True)] = None  # states also say what was gained, in such units; none for the task's own, or not at all
    revealing: Annotated[float | None, Range(0, 1, open_low=True)] = None  # how much they reveal of what is hidden, where tasks say it; none for the task's own
