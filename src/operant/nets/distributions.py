"""Action distributions over the parameters that an actor puts out, in closed form and without validation.

Each is a stateless object: `size` says how many numbers the actor must give an action, `noise` which draws `sample` turns into an action, so that draws are
made once a rollout and the same action comes out wherever it is computed. Parameters `[…, size]` are locations (logits and means, in this order) and behind
them one log standard deviation for each mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Spec


class Endless(BadInput):
    """Actions that are to be kept within bounds have none."""


class Distribution:
    """A family of action distributions. Actions `[…, *action_shape]` are in the policy's units.

    Attributes:
        size: parameters of one action.
        deviations: how many of them are log standard deviations.
        action_shape, action_type: of one action.
        features: width of an action as the input of a network (`encode`).
        choices: logits that an action mask speaks of, which come first among the parameters.
        stochastic: what it samples is not always its mode.
    """

    size: int
    deviations: int = 0
    action_shape: tuple[int, ...]
    action_type: torch.dtype
    features: int
    choices: int = 0
    stochastic: bool = True
    far: str = ""  # where what it draws at first is far from the range of the actions, in words

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        """What `sample` turns into actions, `[S, *shape, …]`."""
        raise NotImplementedError

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        """Uniformly random actions `[S, *shape, *action_shape]`, of what is `allowed [S, *shape, choices]` where there is a mask."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        raise NotImplementedError

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A reparameterised action `[…, *action_shape]`, through which gradients pass, and its log-probability `[…]`. Raises `BadInput` where it has none."""
        if self.choices:
            raise self._lacks("sample_with_log_prob", "no gradient passes through the draw of a choice; take the expectation over all of them")
        raise self._lacks("sample_with_log_prob", "give ActorNet squash=True, for numbers through tanh")

    def mode(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        raise NotImplementedError

    def entropy(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError

    def log_prob_and_entropy(self, parameters: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_prob(parameters, action), self.entropy(parameters)

    def score(self, parameters: Tensor, action: Tensor, entropy_weight: Tensor | float = 0.0) -> Tensor:
        """The gradient of log π(action) + weight · entropy with respect to the parameters, `[…, size]`; weights `[…]`."""
        with torch.enable_grad():
            leaf = parameters.detach().requires_grad_()
            log_prob, entropy = self.log_prob_and_entropy(leaf, action)
            return torch.autograd.grad((log_prob + entropy_weight * entropy).sum(), leaf)[0]

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        """KL(this ‖ that) of the distributions with these parameters and with others, over all actions, nats `[…]`."""
        raise NotImplementedError

    def encode(self, action: Tensor) -> Tensor:
        """Actions as the input of a network, `[…, features]`: choices one-hot, numbers as they are."""
        raise NotImplementedError

    def stretch(self, action: Tensor) -> Tensor:
        """Actions with their numbers in the space's own units."""
        return action

    def to_environment(self, action: Tensor) -> np.ndarray:
        """Actions as `Environments.step` takes them: choices counted from 0, numbers in the space's own units."""
        return self.stretch(action).numpy()

    def from_environment(self, action: Tensor) -> Tensor:
        """The inverse of `stretch`."""
        return action

    def forbid(self, parameters: Tensor, allowed: Tensor) -> Tensor:
        """Parameters under which no choice is drawn that a mask `allowed [..., choices]` forbids."""
        masked = ops.forbid(parameters[..., : self.choices], allowed)
        return masked if self.choices == self.size else torch.cat([masked, parameters[..., self.choices :]], -1)

    @property
    def locations(self) -> int:
        """Parameters that are no log standard deviations."""
        return self.size - self.deviations

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """(locations, log standard deviations)."""
        return parameters.split([self.locations, self.deviations], -1)

    def middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle and half the width of the range of each number that is not counted, `[A]` each, for actions that tanh keeps within it. Raises `BadInput`
        where it has no bounds."""
        return np.zeros(0), np.zeros(0)

    def _lacks(self, what: str, instead: str) -> BadInput:
        """The error for a method that this family does not have."""
        return BadInput(f"actions of {type(self).__name__} have no {what}: {instead}")


def gumbel(streams: Streams, name: str, *shape: int) -> Tensor:
    """Draws `[S, *shape]` which, added to log-probabilities (up to a constant), make the largest the choice that is drawn."""
    return streams.uniform(name, *shape).clamp_(1e-20).log_().neg_().log_().neg_()


class Categorical(Distribution):
    """Softmax over `size` actions; the parameters are logits. Samples by Gumbel-max."""

    action_shape = ()
    action_type = torch.int64

    def __init__(self, action: Spec):
        self.size = self.choices = self.features = action.counts[0]

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return gumbel(streams, name, *shape, self.size)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        if allowed is not None:
            return ops.forbid(self.noise(streams, name, *shape), allowed).argmax(-1)
        return streams.integers(name, self.size, *shape)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return (parameters + noise).argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(-1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        return ops.categorical_log_prob(parameters, action)

    def entropy(self, parameters: Tensor) -> Tensor:
        return ops.entropy_from_logits(parameters)

    def log_prob_and_entropy(self, parameters: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return ops.categorical_log_prob_and_entropy(parameters, action)

    def score(self, parameters: Tensor, action: Tensor, entropy_weight: Tensor | float = 0.0) -> Tensor:
        return ops.categorical_score(parameters, action, entropy_weight)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        return ops.categorical_kl(parameters, others)

    def encode(self, action: Tensor) -> Tensor:
        return nn.functional.one_hot(action, self.size).float()


class EpsilonGreedyChoice(Categorical):
    """Of values of actions, which are the parameters: the highest, or with probability `epsilon` any that is allowed."""

    epsilon: float = 0.0

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return torch.cat([super().noise(streams, name, *shape), streams.uniform(f"{name}/epsilon", *shape).unsqueeze(-1)], -1)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        explored = ops.forbid(noise[..., :-1], self._allowed(parameters)).argmax(-1)
        return torch.where(noise[..., -1] < self.epsilon, explored, self.mode(parameters))

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        return self._chances(parameters).gather(-1, action.unsqueeze(-1)).squeeze(-1).log()

    def entropy(self, parameters: Tensor) -> Tensor:
        return torch.special.entr(self._chances(parameters)).sum(-1)

    def log_prob_and_entropy(self, parameters: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_prob(parameters, action), self.entropy(parameters)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        raise TypeError("what a maximum decides has no divergence from another")

    def _allowed(self, parameters: Tensor) -> Tensor:
        return parameters > ops.FORBIDDEN / 2

    def _chances(self, parameters: Tensor) -> Tensor:
        allowed = self._allowed(parameters).to(parameters.dtype)
        best = nn.functional.one_hot(self.mode(parameters), self.size)
        return (1 - self.epsilon) * best + self.epsilon * allowed / allowed.sum(-1, keepdim=True).clamp(min=1)


class Categoricals(Distribution):
    """Several independent choices at a time, K softmaxes whose logits stand side by side; bits are choices of two."""

    action_type = torch.int64

    def __init__(self, action: Spec):
        counts = torch.tensor(action.counts)
        self.size = self.choices = self.features = int(counts.sum())
        self.action_shape = (len(counts),)
        most = int(counts.max())
        # Choices as a grid `[K, most]`, whose rows are padded by logits that are never drawn.
        real = torch.arange(most) < counts.unsqueeze(1)
        index = torch.where(real, (counts.cumsum(0) - counts).unsqueeze(1) + torch.arange(most), 0)
        self._tables = {torch.device("cpu"): (real, index, real.flatten().nonzero().squeeze(1))}

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """(which of the grid `[K, most]` are choices, where the logits of each stand, the places of choices in a flat grid `[size]`) on a device, handed over
        once: a captured update cannot hand anything over."""
        if device not in self._tables:
            self._tables[device] = tuple(x.to(device) for x in self._tables[torch.device("cpu")])
        return self._tables[device]

    def _grid(self, parameters: Tensor) -> Tensor:
        real, index, _ = self._on(parameters.device)
        return ops.forbid(parameters[..., index], real)

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return gumbel(streams, name, *shape, self.size)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        noise = self.noise(streams, name, *shape)
        return self.mode(noise if allowed is None else ops.forbid(noise, allowed))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return self.mode(parameters + noise)

    def mode(self, parameters: Tensor) -> Tensor:
        return self._grid(parameters).argmax(-1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        return ops.categorical_log_prob(self._grid(parameters), action).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        return ops.entropy_from_logits(self._grid(parameters)).sum(-1)

    def log_prob_and_entropy(self, parameters: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, entropy = ops.categorical_log_prob_and_entropy(self._grid(parameters), action)
        return log_prob.sum(-1), entropy.sum(-1)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        return ops.categorical_kl(self._grid(parameters), self._grid(others)).sum(-1)

    def encode(self, action: Tensor) -> Tensor:
        real, _, places = self._on(action.device)
        return nn.functional.one_hot(action, real.shape[1]).float().flatten(-2)[..., places]


class _Continuous(Distribution):
    action_type = torch.float32

    def __init__(self, action: Spec):
        self.low, self.high = action.bounds()
        self.deviations = self.features = len(self.low)
        self.size = 2 * self.deviations
        self.action_shape = (self.deviations,)
        self._range: tuple[Tensor, Tensor] | None = None  # middle and half the width of what −1 to 1 is stretched onto

    def _onto_range(self) -> None:
        self._range = tuple(torch.from_numpy(of) for of in _Continuous.middle_and_half(self))

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.normal(name, *shape, self.deviations)

    def stretch(self, action: Tensor) -> Tensor:
        return action if self._range is None else action * self._range[1] + self._range[0]

    def from_environment(self, action: Tensor) -> Tensor:
        """The inverse of `stretch`; 0 where the space is a single point."""
        if self._range is None:
            return action
        center, scale = (of.to(action) for of in self._range)
        return torch.where(scale > 0, (action - center) / scale, 0.0)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        return ops.gaussian_kl(*self.split(parameters), *self.split(others))  # the same before tanh as behind it

    def encode(self, action: Tensor) -> Tensor:
        return action

    def middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.low, self.high
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            place = int(np.argmin(np.isfinite(low) & np.isfinite(high)))
            found = f"number {place} of {len(low)} is from {low[place]:g} to {high[place]:g}"
            raise Endless(f"actions of this method are kept within the bounds of the action space by tanh, and this one has infinite ones: {found}")
        return high / 2 + low / 2, high / 2 - low / 2


class Gaussian(_Continuous):
    """Independent normals in the space's own units, or, of boxes that are `scaled`, in those in which its range is −1 to 1; the parameters are mean and log
    standard deviation. The environment clips."""

    def __init__(self, action: Spec):
        super().__init__(action)
        if any(field.scaled for field in action.boxes):
            self._onto_range()

    def middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return super().middle_and_half() if self._range is None else (np.zeros_like(self.low), np.ones_like(self.low))

    @property
    def far(self) -> str:
        return "" if self._range is not None else far_from_unit(self.low, self.high)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        """Over the range of the action space (see `drawn_range`)."""
        share = streams.uniform(name, *shape, self.deviations)
        if self._range is not None:
            return share * 2 - 1
        low, high = (torch.as_tensor(bound, dtype=torch.float32, device=streams.device) for bound in drawn_range(self.low, self.high))
        return low * (1 - share) + high * share

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, parameters: Tensor) -> Tensor:
        return self.split(parameters)[0]

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return ops.gaussian_log_prob(action, mean, log_std)

    def entropy(self, parameters: Tensor) -> Tensor:
        return ops.gaussian_entropy(self.split(parameters)[1])

    def score(self, parameters: Tensor, action: Tensor, entropy_weight: Tensor | float = 0.0) -> Tensor:
        return ops.gaussian_score(action, *self.split(parameters), entropy_weight)


class SquashedGaussian(_Continuous):
    """Normals through tanh onto (−1, 1), stretched onto the space's bounds by `stretch`. Log-probabilities are of the action in (−1, 1)."""

    def __init__(self, action: Spec):
        super().__init__(action)
        self._onto_range()

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        return streams.uniform(name, *shape, self.deviations) * 2 - 1

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return torch.tanh(torch.addcmul(mean, log_std.exp(), noise))

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A reparameterised action `[…, A]` in (−1, 1) and its log-probability `[…]` (SAC, arXiv:1812.05905, appendix C)."""
        return ops.tanh_gaussian_sample(*self.split(parameters), noise)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.tanh(self.split(parameters)[0])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return ops.tanh_gaussian_log_prob(torch.atanh(action.clamp(-1 + 1e-6, 1 - 1e-6)), mean, log_std)

    def entropy(self, parameters: Tensor) -> Tensor:
        raise self._lacks("entropy in closed form", "estimate it by -log_prob of what it draws")


class SquashedMixture(SquashedGaussian):
    """A mixture of K squashed normals, the experts (PMOE, arXiv:2104.09122). Parameters: K logits of which expert acts, the means of one expert after the
    other, and their log standard deviations likewise.

    Args:
        experts: K.
    """

    def __init__(self, action: Spec, experts: int):
        super().__init__(action)
        self.experts = experts
        self.deviations = experts * self.features
        self.size = experts + 2 * self.deviations

    def parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(log-probability of each expert `[…, K]`, means `[…, K, A]`, log standard deviations `[…, K, A]`)."""
        logits, mean, log_std = parameters.split([self.experts, self.deviations, self.deviations], -1)
        shape = (self.experts, self.features)
        return logits.log_softmax(-1), mean.unflatten(-1, shape), log_std.unflatten(-1, shape)

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return torch.cat([gumbel(streams, f"{name}/expert", *shape, self.experts), streams.normal(name, *shape, self.deviations)], -1)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        return streams.uniform(name, *shape, self.features) * 2 - 1

    def every(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(a reparameterised action of each expert `[…, K, A]`, its log-probability under that expert `[…, K]`, which expert acts `[…]`)."""
        log_weight, mean, log_std = self.parts(parameters)
        who, drawn = noise.split([self.experts, self.deviations], -1)
        action, log_prob = ops.tanh_gaussian_sample(mean, log_std, drawn.unflatten(-1, mean.shape[-2:]))
        return action, log_prob, (log_weight + who).argmax(-1)

    @staticmethod
    def of(each: Tensor, chosen: Tensor) -> Tensor:
        """Of what each expert gave, `[…, K, A]`, that of the chosen ones `[…]`: `[…, A]`."""
        return each.gather(-2, chosen[..., None, None].expand(*chosen.shape, 1, each.shape[-1])).squeeze(-2)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        action, _, chosen = self.every(parameters, noise)
        return self.of(action, chosen)

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """An action `[…, A]` and its log-probability under the whole mixture `[…]`; which expert drew it has no gradient."""
        action = self.sample(parameters, noise)
        return action, self.log_prob(parameters, action)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        raise self._lacks("kl in closed form", "estimate it by differences of log_prob of what it draws, or take one expert")

    def mode(self, parameters: Tensor) -> Tensor:
        """What the likeliest expert's mean becomes."""
        log_weight, mean, _ = self.parts(parameters)
        return torch.tanh(self.of(mean, log_weight.argmax(-1)))

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        log_weight, mean, log_std = self.parts(parameters)
        unsquashed = torch.atanh(action.clamp(-1 + 1e-6, 1 - 1e-6)).unsqueeze(-2)
        return (log_weight + ops.tanh_gaussian_log_prob(unsquashed, mean, log_std)).logsumexp(-1)


SPREAD = "give ActorNet squash=True in the place of deterministic=True"


class TanhPoint(SquashedGaussian):
    """A single action: the parameters through tanh, stretched as `SquashedGaussian` does. It draws nothing and has no density."""

    stochastic = False

    def __init__(self, action: Spec):
        super().__init__(action)
        self.size, self.deviations = self.deviations, 0

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.normal(name, *shape, self.size)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        return streams.uniform(name, *shape, self.size) * 2 - 1

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return torch.tanh(parameters)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.tanh(parameters)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        raise self._lacks("log_prob", SPREAD)

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        raise self._lacks("sample_with_log_prob", SPREAD)

    def entropy(self, parameters: Tensor) -> Tensor:
        raise self._lacks("entropy", SPREAD)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        raise self._lacks("kl", SPREAD)


class Mixed(Distribution):
    """Choices and numbers at a time, independent of each other: `[…, K + A]` float32, the K choices counted from 0 and then the A numbers."""

    action_type = torch.float32

    def __init__(self, action: Spec, continuous: Callable[[Spec], Gaussian | SquashedGaussian]):
        self._choices, self._numbers = Categoricals(action), continuous(action)
        self.choices, self.deviations = self._choices.choices, self._numbers.deviations
        self.size, self.features = self._choices.size + self._numbers.size, self._choices.features + self._numbers.features
        self._counted = self._choices.action_shape[0]
        self.action_shape = (self._counted + self.deviations,)
        self.far = self._numbers.far

    def _each(self, x: Tensor, counted: int) -> tuple[Tensor, Tensor]:
        return x.split([counted, x.shape[-1] - counted], -1)

    def _actions(self, choices: Tensor, numbers: Tensor) -> Tensor:
        return torch.cat([choices.float(), numbers], -1)

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return torch.cat([self._choices.noise(streams, f"{name}/choices", *shape), self._numbers.noise(streams, name, *shape)], -1)

    def uniform(self, streams: Streams, name: str, *shape: int, allowed: Tensor | None = None) -> Tensor:
        choices = self._choices.uniform(streams, f"{name}/choices", *shape, allowed=allowed)
        return self._actions(choices, self._numbers.uniform(streams, name, *shape))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        logits, rest = self._each(parameters, self.choices)
        first, second = self._each(noise, self.choices)
        return self._actions(self._choices.sample(logits, first), self._numbers.sample(rest, second))

    def mode(self, parameters: Tensor) -> Tensor:
        logits, rest = self._each(parameters, self.choices)
        return self._actions(self._choices.mode(logits), self._numbers.mode(rest))

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        (logits, rest), (choices, numbers) = self._each(parameters, self.choices), self._each(action, self._counted)
        return self._choices.log_prob(logits, choices.long()) + self._numbers.log_prob(rest, numbers)

    def entropy(self, parameters: Tensor) -> Tensor:
        logits, rest = self._each(parameters, self.choices)
        return self._choices.entropy(logits) + self._numbers.entropy(rest)

    def kl(self, parameters: Tensor, others: Tensor) -> Tensor:
        (logits, rest), (other_logits, other_rest) = self._each(parameters, self.choices), self._each(others, self.choices)
        return self._choices.kl(logits, other_logits) + self._numbers.kl(rest, other_rest)

    def encode(self, action: Tensor) -> Tensor:
        choices, numbers = self._each(action, self._counted)
        return torch.cat([self._choices.encode(choices.long()), numbers], -1)

    def stretch(self, action: Tensor) -> Tensor:
        choices, numbers = self._each(action, self._counted)
        return torch.cat([choices, self._numbers.stretch(numbers)], -1)

    def from_environment(self, action: Tensor) -> Tensor:
        choices, numbers = self._each(action, self._counted)
        return torch.cat([choices, self._numbers.from_environment(numbers)], -1)

    def middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        return self._numbers.middle_and_half()


FAR_MIDDLE, NARROW, WIDE = 1.0, 0.1, 10.0  # of a range, in which normals of mean 0 and deviation 1 hardly ever find what is good
MOST_RANGES = 3  # that are told one by one


def far_from_unit(low: np.ndarray, high: np.ndarray) -> str:
    """Where normals that begin at mean 0 with deviation 1 begin far from a bounded range: its middle is more than 1 from 0, or half its width is below 0.1 or
    above 10. In words, of the first such numbers and how many more there are; empty where there is none."""
    with np.errstate(invalid="ignore"):
        middle, half = high / 2 + low / 2, high / 2 - low / 2
    far = np.isfinite(half) & (half > 0) & ((np.abs(middle) > FAR_MIDDLE) | (half < NARROW) | (half > WIDE))
    if not far.any():
        return ""
    places = np.flatnonzero(far).tolist()
    told = [f"number {place}{' of an action is' * (place == places[0])} from {low[place]:g} to {high[place]:g}" for place in places[:MOST_RANGES]]
    told += [f"{len(places) - MOST_RANGES} more as far"] * (len(places) > MOST_RANGES)
    return f"{', '.join(told)}, and the Gaussian begins at 0 with deviation 1"


def drawn_range(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range that uniformly random actions are drawn from: the bounds; 2 units from the one that there is, [-1, 1] where there is none."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    above, below = np.isfinite(low), np.isfinite(high)
    return np.where(above, low, np.where(below, high - 2, -1)), np.where(below, high, np.where(above, low + 2, 1))


def distribution_for(action: Spec, continuous: Callable[[Spec], Gaussian | SquashedGaussian] = Gaussian) -> Distribution:
    """The distribution of an action: softmaxes over what is counted, `continuous` over what is not."""
    if action.counts and action.boxes:
        return Mixed(action, continuous)
    if action.boxes:
        return continuous(action)
    return Categorical(action) if action.one_choice else Categoricals(action)
