"""Representation learning from videos: which encoders of frames find the hidden state, under noise that is fresh in each frame and under noise that has a
life of its own.

Paper: Misra et al. 2024, arXiv:2403.13765. A block MDP shows pictures of a few hidden states (`gym:block-grid` and its kin). Encoders learn from videos of
somebody who acts by habit, and inverse dynamics from what was done beside; then they are left as they are.

**Accuracy** is that of clusters: k-means on features of frames, with as many clusters as there are hidden states, each of which is named after one state so
that most frames are named rightly, and judged on other videos. The theorems are about encoders into as few values, right up to a permutation, and Q-learning
sees nothing else; a linear probe would find the state also where it is a small part of what the features are about. **Return** is what greedy policies earn
after tabular Q-learning on clusters in the same environment, whose optimum is known exactly; that of the hidden states themselves stands beside it.

Noise is `iid`, `exogenous` (blobs that wander) or `mimic` (two more walkers that nobody controls, the hard instance of the lower bound: videos look the same
whichever of the three obeys); see `operant.worlds.gym.blocks`. With exogenous noise what helps to predict the next frame is no longer the state alone; under
`mimic` no method that sees videos alone can tell the one from the other.

Settled: an encoder has two layers; weights decay, for some thousands of frames of fresh noise are else learned by heart. Offsets are drawn uniformly up to
`--max-offset`. Q-learning begins at the largest reward, takes a random action 1 time in 10, discounts by 0.95, and moves by 21 / (20 + t) at the t-th visit
of a pair (`ops.rescaled_linear_rate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed, unknown
from operant.core.flat import Adam, FlatParameters
from operant.core.memory import TRAINED, check_memory
from operant.core.random import Streams
from operant.core.registry import BatchSize, Count, LearningRate, NonNegative, Range
from operant.core.seeds import derive_seed
from operant.evaluate.plots import final_scores
from operant.evaluate.statistics import Interval, mean, stratified_bootstrap
from operant.nets.representation import ENCODERS, EncoderSettings, FrameEncoder, FramePairs
from operant.studies import Say, StudyResult, Table, study
from operant.worlds import make_world
from operant.worlds.gym.blocks import BLOCKS, BlockEnvironments
from operant.worlds.gym.collect import environments_of

NOISES = ("iid", "exogenous", "mimic")
SHARE = (0.0, 1.0)
HIDDEN = "hidden state"  # in the place of an encoder
EPSILON, DISCOUNT, RATE_HORIZON = 0.1, 0.95, 20  # of Q-learning
ROWS = 20  # environments of a seed that are stepped together, but not in Q-learning
RESTARTS, MOVES, POINTS = 30, 25, 2_000  # of k-means: beginnings, iterations, and frames that it sees

Decode = Callable[[Tensor, Tensor], Tensor]  # (pictures `[S, B, D]` of bytes, hidden states `[S, B]`) → which of K values, `[S, B]`


@dataclass(frozen=True)
class VideoOptions(EncoderSettings):
    bed: Literal["grid", "lock"] = "grid"  # what is hidden: a walk over 4 × 4 places, or a combination lock
    noises: tuple[str, ...] = NOISES  # what is seen beside it
    encoders: tuple[str, ...] = ("random", "autoencoder", "forward", "forward-vq", "contrastive", "inverse")  # which are compared
    episodes: Count = 1_000  # of videos, rounded up to twenties
    updates: Count = 600  # of an encoder
    batch_size: BatchSize = 128  # pairs of frames an update
    learning_rate: LearningRate = 1e-3  # Adam's
    weight_decay: NonNegative = 1.0  # of encoders, times the learning rate an update
    q_episodes: Count = 200  # that Q-learning plays
    evaluated: Count = 100  # episodes of each greedy policy, rounded up to twenties
    seeds: Count = 5  # of videos, encoders and Q-learning
    seed: Annotated[int, Range(0)] = 0  # the first of them


@study(
    "video-rep-learning",
    paper="arXiv:2403.13765",
    summary="Which encoders of video frames find the hidden state of a block MDP, by the noise that is seen beside it, and what Q-learning makes of it",
)
def video_rep_learning(options: VideoOptions, folder: Path, say: Say) -> StudyResult:
    for what, given, known in (("noise", options.noises, NOISES), ("encoder", options.encoders, ENCODERS)):
        for name in given:
            if name not in known:
                raise unknown(f"{what} of video-rep-learning:", name, known)
    check_sizes(options)
    seeds = [options.seed + place for place in range(options.seeds)]
    figures: dict[str, Any] = {}
    rows, plots = [], {}
    for noise in options.noises:
        kind = bed(options.bed, noise)
        shown, held_out = (videos(kind, seeds, episodes, name) for name, episodes in (("videos", options.episodes), ("held out", 2 * ROWS)))
        found: dict[str, dict[str, list[float]]] = {}
        for name in (HIDDEN, *options.encoders):
            streams = Streams(seeds)
            if name == HIDDEN:
                decode, accuracy = (lambda pictures, hidden: hidden), np.ones(len(seeds))
            else:
                encoder = trained(name, shown, options, streams, f"{noise} noise")
                decode, accuracy = decoded(encoder, shown, held_out, streams)
            found[name] = {"accuracy": accuracy.tolist(), "return": q_learned(kind, decode, seeds, options).tolist()}
            cells = (stratified_bootstrap(found[name]["accuracy"], mean, bounds=SHARE), stratified_bootstrap(found[name]["return"], mean))
            rows.append((noise, name, *map(_cell, cells)))
            say(f"{noise}, {name}: accuracy {rows[-1][2]}, return {rows[-1][3]}")
        figures[noise] = found
        plots[noise] = final_scores(
            {name: (stratified_bootstrap(of["accuracy"], mean, bounds=SHARE), np.array(of["accuracy"])) for name, of in found.items() if name != HIDDEN},
            xlabel=f"accuracy, {noise} noise",
        )
    hidden = make_world(f"tabular:{bed(options.bed, 'iid').task}").mdp(Streams([0]))
    optimum = hidden.start_value(hidden.optimum[0]).item()
    title = f"gym:block-{options.bed}, {options.episodes:,} videos, {options.seeds} seeds; the optimal return is {optimum:.4g}"
    table = Table(title, ("noise", "encoder", "accuracy", "return"), tuple(rows))
    return StudyResult({"optimal_return": optimum, "noises": figures}, (table,), plots)


def check_sizes(options: VideoOptions) -> None:
    """Raise `BadInput` for pairs farther apart than a video is long, and where videos, batches or encoders take more memory than there is."""
    rows = bed(options.bed, "iid")([0])
    length, frame, seeds = rows.limit, int(np.prod(rows.observation_space.shape)), options.seeds
    if options.max_offset >= length:
        raise BadInput(f"study video-rep-learning: max_offset={options.max_offset:,}: videos of {options.bed} have {length} frames: at most {length - 1}")
    study, of = "study video-rep-learning:", f" of each of {seeds:,} seeds" * (seeds > 1)
    videos = -(-options.episodes // ROWS) * ROWS
    check_memory(f"{study} {videos:,} videos of {length} frames{of}", 2 * seeds * videos * length * frame, "take fewer --episodes or --seeds")
    widths = (frame, *options.hidden, options.features)
    weights = sum(one * other for one, other in zip(widths, widths[1:], strict=False)) + options.codes * options.features
    check_memory(f"{study} encoders of {weights:,} weights{of}", TRAINED * seeds * weights, "take narrower layers, or fewer --features, --codes or --seeds")
    against = max(options.codes, options.batch_size if "contrastive" in options.encoders else 0)  # what each frame of a batch is held against
    size = 4 * seeds * options.batch_size * (2 * frame + 2 * sum(widths[1:]) + against)
    check_memory(f"{study} batches of {options.batch_size:,} pairs of frames{of}", size, "take a smaller --batch-size, or fewer --codes or --seeds")


def _cell(of: Interval) -> str:
    return f"{of.point:.3f}" if of.low is None else f"{of.point:.3f} [{of.low:.3f}, {of.high:.3f}]"


def bed(name: str, noise: str) -> type[BlockEnvironments]:
    """The environment of a hidden MDP and a noise."""
    return next(kind for kind in BLOCKS if kind.noise == noise and kind.env_id.startswith(f"block-{name}"))


@dataclass(frozen=True)
class Videos:
    """Episodes of somebody who acts by habit: `picture [S, E, T, D]` of bytes, and at each what was done and hidden, `[S, E, T]` int64."""

    picture: Tensor
    action: Tensor
    hidden: Tensor

    def frames(self, count: int) -> tuple[Tensor, Tensor]:
        """(pictures `[S, n, D]`, hidden states `[S, n]`) of the first episodes, `count` frames at the most."""
        return self.picture.flatten(1, 2)[:, :count], self.hidden.flatten(1, 2)[:, :count]

    def pairs(self, count: int, most: int, streams: Streams) -> FramePairs:
        """Pairs of frames, anywhere in any video and up to `most` apart."""
        episodes, length = self.picture.shape[1:3]
        row = torch.arange(len(self.picture)).unsqueeze(-1)
        episode, offset = streams.integers("episodes", episodes, count), 1 + streams.integers("offsets", most, count)
        at = (streams.uniform("frames", count) * (length - offset)).long()
        first, second = (self.picture[row, episode, place].float() / 255 for place in (at, at + offset))
        return FramePairs(first, second, offset, self.action[row, episode, at])


def videos(kind: type[BlockEnvironments], seeds: list[int], episodes: int, name: str) -> Videos:
    """Videos of each seed, `episodes` rounded up to a multiple of the rows."""
    rows = environments_of(kind, [derive_seed(seed, name) for seed in seeds], ROWS, None)
    draws = Streams([derive_seed(seed, name) for seed in seeds])
    habit = torch.from_numpy(rows.habit).cumsum(-1)
    picture = rows.reset()
    found: list[list[np.ndarray]] = [[], [], []]
    for _ in range(-(-episodes // ROWS) * rows.limit):
        hidden = rows.hidden
        action = (draws.uniform("actions", ROWS).flatten().unsqueeze(-1) >= habit[hidden, :-1]).sum(-1).numpy()
        for column, value in zip(found, (picture.astype(np.uint8), action, hidden), strict=True):
            column.append(value)
        picture = rows.step(action).observation

    def by_seed(column: list[np.ndarray]) -> Tensor:
        table = torch.from_numpy(np.stack(column))  # [E / rows · T, S · rows, …]
        return table.unflatten(1, (len(seeds), ROWS)).unflatten(0, (-1, rows.limit)).permute(2, 0, 3, 1, *range(4, table.ndim + 2)).flatten(1, 2)

    return Videos(*map(by_seed, found))


def trained(name: str, shown: Videos, options: VideoOptions, streams: Streams, noise: str) -> FrameEncoder:
    """An encoder of each seed after training. Raises `RunFailed`, with its name, the noise, the seed and the update, where it diverges."""

    def check(what: str, found: Tensor, update: int) -> None:
        """`found` is `[S, …]`."""
        if (wrong := ~found.isfinite().flatten(1).all(1)).any():
            seed = streams.seeds[int(wrong.nonzero()[0])]
            where = f"encoder {name}, {noise}, seed {seed}, update {update} of {options.updates}"
            raise RunFailed(f"study video-rep-learning: {where}: {what} is not finite: try a lower --learning-rate or --weight-decay")

    encoder = ENCODERS[name](shown.picture.shape[-1], int(shown.action.max()) + 1, options, streams)
    if not encoder.learns:
        return encoder
    flat = FlatParameters(encoder, seeds=len(streams.seeds))
    adam = Adam([flat], learning_rate=options.learning_rate, weight_decay=options.weight_decay)
    for update in range(options.updates):
        if update == options.updates // 2:
            encoder.settle(shown.frames(POINTS)[0] / 255, streams.uniform("settle", options.codes))
        flat.zero_grad()
        loss = encoder.loss(shown.pairs(options.batch_size, options.max_offset, streams))
        check("the loss", loss, update + 1)
        loss.mean(1).sum().backward()
        norm = flat.grad_norm()
        check("the gradient", norm.unsqueeze(-1), update + 1)
        adam.step(norm)
    with torch.no_grad():
        check("what the encoder makes of frames", encoder(shown.frames(POINTS)[0] / 255), options.updates)
    return encoder


@torch.no_grad()
def decoded(encoder: FrameEncoder, shown: Videos, held_out: Videos, streams: Streams) -> tuple[Decode, np.ndarray]:
    """(which cluster a picture is in, by clusters of frames that were shown; the share of held-out frames whose cluster has their state's name, `[S]`)."""
    from scipy.optimize import linear_sum_assignment

    states = int(shown.hidden.max()) + 1
    pictures, hidden = shown.frames(POINTS)
    centres = clusters(encoder(pictures / 255), states, streams)

    @torch.no_grad()
    def decode(pictures: Tensor, hidden: Tensor) -> Tensor:
        return ops.nearest_cell(encoder(pictures / 255), centres)

    counts = torch.zeros(len(centres), states * states).scatter_add_(1, decode(pictures, hidden) * states + hidden, torch.ones(hidden.shape))
    name = torch.stack([torch.from_numpy(linear_sum_assignment(-each.numpy())[1]) for each in counts.unflatten(1, (states, states))])
    pictures, hidden = held_out.frames(POINTS)
    return decode, (name.gather(1, decode(pictures, hidden)) == hidden).double().mean(1).numpy()


def clusters(points: Tensor, count: int, streams: Streams) -> Tensor:
    """k-means: centres `[S, count, F]` of points `[S, B, F]`, the best of several beginnings."""
    points = points.unsqueeze(1).expand(-1, RESTARTS, -1, -1)
    centres = ops.spread_points(points, streams.uniform("clusters", RESTARTS, count))
    for _ in range(MOVES):
        centres, distance = ops.k_means_step(points, centres)
    return centres[torch.arange(len(centres)), distance.argmin(1)]


def q_learned(kind: type[BlockEnvironments], decode: Decode, seeds: list[int], options: VideoOptions) -> np.ndarray:
    """What greedy policies over what a picture is decoded to earn after Q-learning, `[S]`, means over episodes."""
    rows, streams = environments_of(kind, [derive_seed(seed, "q-learning") for seed in seeds], 1, None), Streams(seeds)
    states, actions = rows.reward.shape
    place = torch.arange(len(seeds))
    q, visits = torch.full((len(seeds), states, actions), float(rows.reward.max())), torch.zeros(len(seeds), states, actions)

    def read(picture: np.ndarray, hidden: np.ndarray) -> Tensor:
        return decode(torch.from_numpy(picture).view(len(seeds), -1, picture.shape[-1]), torch.from_numpy(hidden).view(len(seeds), -1))

    state = read(rows.reset(), rows.hidden)
    for _ in range(options.q_episodes * rows.limit):
        chance, other = streams.uniform("explore", 1), streams.integers("actions", actions, 1)
        action = torch.where(chance < EPSILON, other, q[place.unsqueeze(-1), state].argmax(-1))
        step = rows.step(action.flatten().numpy())
        pair = state * actions + action
        visits = visits.flatten(1).scatter_add(1, pair, torch.ones(pair.shape)).view_as(visits)
        rate = ops.rescaled_linear_rate(visits.flatten(1).gather(1, pair), horizon=RATE_HORIZON)
        reached = read(step.next_observation, rows.outcome)
        target = torch.from_numpy(step.reward).unsqueeze(-1) + DISCOUNT * q[place.unsqueeze(-1), reached].amax(-1)
        q = ops.moved_entries(q, pair, target, rate)
        state = reached if step.observation is step.next_observation else read(step.observation, rows.hidden)
    rows, total = environments_of(kind, [derive_seed(seed, "evaluation") for seed in seeds], ROWS, None), np.zeros(len(seeds))
    picture, episodes = rows.reset(), -(-options.evaluated // ROWS)
    for _ in range(episodes * rows.limit):
        action = q[place.unsqueeze(-1), read(picture, rows.hidden)].argmax(-1)
        step = rows.step(action.flatten().numpy())
        picture, total = step.observation, total + step.reward.reshape(len(seeds), -1).sum(1)
    return total / (episodes * ROWS)
