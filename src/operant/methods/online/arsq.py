"""ARSQ: soft Q-learning on numbers that are cut into bins, coarse to fine, each step told what was chosen before it; it begins with data.

Paper: Liu et al. 2025, arXiv:2502.00288. Q(s, a) = V(s) + Σ A, one A for each step of a path to the action: level after level, and number after number within
a level. Scores x of a step's bins become A = x − α logsumexp(x / α), so that exp(Σ A / α) is a policy by construction, and V its soft value. Two networks each
minimise ½ (V(s) + Σ A − y)², y = r + γ min V'(s') of their target networks; in the environment bins are drawn by the least of both. On the data, good or not,
the margin loss Σ max(A − A(shown), C) of every step pulls towards what is shown. With `conditioning="level"` a step is told the coarser levels alone, so
that the numbers are independent within a level: the ablation of the authors' code, and how CQN (arXiv:2407.07787) chooses. CQN's distributional critic,
whose dimensions have values of their own, is not here.
As in the authors' code (known from a third party's copy; CornellRL/ARSQ itself could not be read): a step sees the observation and the middle of what each
number has come down to; one network of tanh layers says the scores of all steps and another one V, orthogonal, the last layer of gain 0.01; what is evaluated
takes the best bin at every step.
Departures: half of each batch is data and half replay, as RLPD has it; their replay begins with the data, so that its half has some too. The first steps act at
random, theirs never do. The ½ is the paper's, their code has none. The margin loss is summed over bins, as in the paper; theirs is the mean over the bins
that were not shown, or on some data sets their logsumexp. Truncation bootstraps; theirs leaves out the last transition of such an episode. Theirs are batches
of 512 and three layers of 512; α is 0.01 on D4RL, with 2 levels of 7 bins for Hopper and one of 41 elsewhere, and 0.001 in RLBench, with 3 levels of 5; C (-1
to 1) and the coefficient of its loss (0.03 to 10) are others for each data set, so that the defaults here are no setting of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from operant import ops
from operant.core.registry import BatchSize, Discount, LearningRate, NonNegative, Positive, Range, TargetShare, Widths, method
from operant.loops.behaviour import Drawn
from operant.loops.draw import symmetric
from operant.loops.settings import OnlineSettings
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.coarse_to_fine import CoarseToFineNet

FINEST = 2**20  # bins of the last level, which float32 tells apart


@dataclass(frozen=True)
class ARSQ(OnlineSettings):
    learning_rate: LearningRate = 3e-4  # Adam's
    gamma: Discount = 0.99  # discount a step
    batch_size: BatchSize = 256  # transitions an update, half of them from the data (rounded up)
    tau: TargetShare = 0.005  # share of the networks that enters the target networks at each update
    levels: Annotated[int, Range(1, 20)] = 2  # of bins within bins
    bins: Annotated[int, Range(2)] = 7  # that each level cuts a number's bin of the level before into
    alpha: Positive = 0.01  # temperature, in units of the return
    margin: float = -1.0  # C, in units of the return: by how much other bins are to lag behind those of the data
    margin_coefficient: NonNegative = 0.02  # of the margin loss
    conditioning: Literal["all", "level"] = "all"  # what of its own level a step is told: the bins of the numbers before it, or none
    hidden: Widths = (256, 256)  # widths of the layers of V and of advantages

    def __post_init__(self):
        if self.bins**self.levels > FINEST:
            raise ValueError(f"levels is {self.levels} and bins {self.bins}: {self.bins**self.levels:,} bins in the end, and at most {FINEST:,} are told apart")


@method("arsq", name="ARSQ", family="online", paper="arXiv:2502.00288", worlds=("data",), actions=("continuous",))
def arsq(h: ARSQ) -> ValueLearning:
    halves = symmetric(h.batch_size)
    replayed, shown = (part.size for part in halves.parts)

    def losses(u: Update):
        batch, q = u.batch, u.net("q")
        y = u.bellman(u.target("q").value(batch.next_observation).amin(1), gamma=h.gamma)
        path = q.distribution.path(batch.action)
        advantage = q.advantages(batch.observation, path)  # [S, 2, B, L, A, bins]
        both = path.unsqueeze(1).expand_as(advantage[..., 0])
        taken = advantage.gather(-1, both.unsqueeze(-1)).squeeze(-1).sum((-1, -2))
        lag = ops.demonstration_margin_loss(advantage[:, :, replayed:], both[:, :, replayed:], margin=h.margin).sum((1, -1, -2))
        nothing = torch.zeros_like(y[:, :replayed])
        return {
            "critic": 0.5 * (q.value(batch.observation) + taken - y.unsqueeze(1)).square().sum(1),
            "margin": torch.cat([nothing, h.margin_coefficient * halves.size / shown * lag], 1),
        }

    return ValueLearning(
        nets={"q": CoarseToFineNet(h.hidden, h.levels, h.bins, h.alpha, h.conditioning, h.normalize_observation)},
        phases=[Phase(losses, trains=("q",), optim=Optim(h.learning_rate))],
        acts=Drawn("q"),
        track={"q": Polyak(h.tau)},
        data=True,
        **h.replay(h.batch_size, h.gamma, h.updates_per_step) | {"draw": halves},
    )
