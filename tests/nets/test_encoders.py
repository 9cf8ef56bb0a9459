"""Networks that see pictures and parts: a seed among others is one alone, numbers are those of PyTorch's layers, and rows of vectors are read as they are."""

import numpy as np
import pytest
import torch
from torch import nn

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.nets.actors import ActorCriticNet, ActorNet, CriticNet
from operant.nets.encoders import PictureEncoder, build_encoder
from operant.nets.layers import orthogonal

VECTOR = Field("v", (3,))
PICTURE = Field("p", (7, 6, 2), "uint8", low=(0,), high=(255,))
MASK = Field("action_mask", (3,), "int8", low=(0,), high=(1,), role="action_mask")
CHOICE = Spec((Field("action", (), "int64", "discrete", (3,), (0,)),))
ALL = Spec((VECTOR, PICTURE, Field("w", (2,)), MASK))


def pack(spec: Spec, fields: dict[str, torch.Tensor]) -> torch.Tensor:
    """Fields one behind the other: the inverse of `Spec.unpack`."""
    return torch.cat([fields[field.name].flatten(fields[field.name].ndim - len(field.row_shape)) for field in spec.fields], -1)


def rows(spec: Spec, *lead: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    fields = {}
    for field in spec.fields:
        shape = (*lead, *field.row_shape)
        if field.role == "action_mask":
            fields[field.name] = torch.ones(shape)
        else:
            fields[field.name] = torch.randint(256, shape, generator=generator).float() if field.bytes else torch.randn(shape, generator=generator)
    return pack(spec, fields)


def test_rows_of_vectors_are_read_as_they_are():
    assert build_encoder(Spec((VECTOR, Field("w", (2,)))), Streams([0]), "x") is None
    net = ActorCriticNet(hidden=(4,)).build(Spec((VECTOR,)), CHOICE, Streams([0, 1]))
    assert sorted(net.state_dict()) == [f"net.{name}.{kind}" for name in ("actor_head", "critic_head", "trunk.layers.0") for kind in ("bias", "weight")]


def test_fields_lie_side_by_side_without_the_mask():
    encoder = build_encoder(ALL, Streams([0]), "x")
    assert encoder.size == 5 + 128
    seen = rows(ALL, 1, 4)
    fields = ALL.unpack(seen)
    features = encoder(seen)
    torch.testing.assert_close(features[..., :5], torch.cat([fields["v"], fields["w"]], -1), rtol=0, atol=0)
    other = seen.clone()
    other[..., ALL.mask] = 0
    torch.testing.assert_close(encoder(other), features, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "channels", "layers"),
    [
        ((10, 10, 4), 4, 1),
        ((4, 10, 10), 4, 1),
        ((7, 7), 1, 1),
        ((84, 84, 4), 4, 3),
        ((3, 96, 96), 3, 3),
        ((2, 40, 40, 3), 6, 3),
        ((30, 20, 3), 3, 3),
        ((2, 2, 1), 1, 1),
    ],
)
def test_pictures_of_every_size(shape, channels, layers):
    encoder = PictureEncoder(Field("p", shape, "uint8", low=(0,), high=(255,)), Streams([0]).torch_generators("x"), orthogonal(1.0))
    assert encoder.layers[0].weight.shape[2] == channels and len(encoder.layers) == layers
    assert encoder(torch.rand(1, 2, int(np.prod(shape)))).shape == (1, 2, encoder.size)


@pytest.mark.parametrize("first", [False, True])
def test_the_numbers_are_those_of_plain_layers(first):
    """Pixels from 0 to 255 divided by 255, a convolution, ReLU, a dense layer, ReLU."""
    shape = (2, 7, 6) if first else (7, 6, 2)
    encoder = PictureEncoder(Field("p", shape, "uint8", low=(0,), high=(255,)), Streams([3, 5]).torch_generators("x"), orthogonal(2**0.5))
    pixels = torch.randint(256, (2, 4, 84)).float()
    for seed in range(2):
        picture = pixels[seed].view(4, *shape) / 255
        picture = picture if first else picture.permute(0, 3, 1, 2)
        hidden = torch.relu(nn.functional.conv2d(picture, encoder.layers[0].weight[seed], encoder.layers[0].bias[seed]))
        wanted = torch.relu(hidden.flatten(1) @ encoder.dense.weight[seed] + encoder.dense.bias[seed])
        torch.testing.assert_close(encoder(pixels)[seed], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_a_seed_among_others_is_one_alone(shared):
    """Forward and gradients, of actor and critic, with one encoder for both or one each."""
    net = ActorCriticNet(hidden=(8,), shared=shared)
    together, alone = (net.build(ALL, CHOICE, Streams(seeds)) for seeds in ([4, 7, 9], [7]))
    assert len(together.net.encoders) == (1 if shared else 2)
    seen = rows(ALL, 3, 5)
    for policy, x in ((together, seen), (alone, seen[1:2])):
        found = policy.replay({"observation": x}, torch.zeros(len(x), 5, dtype=torch.int64), frozenset({"value"}))
        (found["log_prob"].sum() + found["value"].sum()).backward()
        torch.testing.assert_close(policy.value(x), found["value"])
    torch.testing.assert_close(together(seen)[1:2], alone(seen[1:2]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together(seen.view(3, 1, 5, -1))[:, 0], together(seen))
    own = dict(alone.named_parameters())
    for name, value in together.named_parameters():
        torch.testing.assert_close(value[1:2], own[name], rtol=0, atol=0)
        torch.testing.assert_close(value.grad[1:2], own[name].grad, rtol=1e-4, atol=1e-5)


def test_actor_and_critic_share_their_encoder_or_not():
    seen = rows(ALL, 1, 5)
    for shared in (True, False):
        policy = ActorCriticNet(hidden=(8,), shared=shared).build(ALL, CHOICE, Streams([0]))
        policy.value(seen).sum().backward()
        touched = [encoder.encoders[0].dense.weight.grad is not None for encoder in policy.net.encoders]
        assert touched == ([True] if shared else [False, True])


def test_masks_are_obeyed_by_every_network():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(5, 3)

        def forward(self, seen):
            return self.dense(torch.cat([seen["v"], seen["w"]], -1))

    observation = rows(ALL, 2, 6)
    observation[..., ALL.mask] = torch.tensor([0.0, 1.0, 0.0])
    for net in (ActorCriticNet(hidden=(4,)), ActorCriticNet(module=Head), ActorNet(hidden=(4,)), ActorNet(module=Head)):
        policy = net.build(ALL, CHOICE, Streams([0, 1]))
        parameters = policy(observation)
        noise = policy.distribution.noise(Streams([0, 1]), "a", 6)
        assert (policy.act(observation)[0] == 1).all() and (policy.distribution.sample(parameters, noise) == 1).all()
        replayed = policy.replay({"observation": observation}, torch.ones(2, 6, dtype=torch.int64), frozenset({"entropy"}))
        assert replayed["log_prob"].abs().max() == 0 and replayed["entropy"].abs().max() == 0


def test_critics_see_what_actors_see():
    """An ensemble has one encoder, which sees both observations; the action comes as the distribution encodes it."""
    critic = CriticNet(hidden=(8,), ensemble=3).build(ALL, CHOICE, Streams([0, 1]), "q")
    action = nn.functional.one_hot(torch.zeros(2, 5, dtype=torch.int64), 3).float()
    assert critic(rows(ALL, 2, 5), action).shape == (2, 3, 5)
    assert critic.net.layers[0].weight.shape == (2, 3, 5 + 128 + 3, 8)
    assert "encoder.encoders.0.dense.weight" in critic.state_dict()


def test_normalisation_leaves_pixels_choices_and_masks_as_they_are():
    spec = Spec((VECTOR, PICTURE, Field("one", (), "int64", "discrete", (4,), (0,)), MASK))
    policy = ActorCriticNet(hidden=(4,), normalize=True).build(spec, CHOICE, Streams([0, 1]))
    seen = torch.rand(2, 9, spec.size) * 4 + 3
    policy.normalizer.update(seen, torch.ones(2, 9, dtype=torch.bool))
    found = policy.normalized(seen)
    assert policy.normalizer.mean.shape == (2, 3)
    torch.testing.assert_close(found[..., 3:], seen[..., 3:], rtol=0, atol=0)
    assert found[..., :3].mean().abs() < 1e-4 and (found[..., :3].std(1, unbiased=False) - 1).abs().max() < 1e-3
    assert ActorCriticNet(hidden=(4,), normalize=True).build(Spec((PICTURE,)), CHOICE, Streams([0])).normalizer is None


class Own(nn.Module):
    def __init__(self, features=5):
        super().__init__()
        self.layer = nn.Linear(84, features)

    def forward(self, x):
        assert x.shape[-3:] == (7, 6, 2)
        return self.layer(x.flatten(1) / 255)


def test_a_module_of_ones_own_encodes_a_field():
    policy = ActorCriticNet(hidden=(4,), encoders={"p": Own}).build(ALL, CHOICE, Streams([0, 1]))
    assert policy.net.encoders[0].size == 5 + 5
    assert policy(rows(ALL, 2, 6)).shape == (2, 6, 3)
    first, second = policy.net.encoders[0].encoders[0].parameter_0
    assert not torch.equal(first, second)  # made anew for each seed
    with pytest.raises(BadInput, match="unknown observation field 'q'"):
        ActorCriticNet(encoders={"q": Own}).build(ALL, CHOICE, Streams([0]))
    with pytest.raises(BadInput, match=r"encoder of 'v' Own must map observations \[N, 3\] to \[N, F\]; it raised"):
        ActorCriticNet(encoders={"v": Own}).build(ALL, CHOICE, Streams([0]))


def test_a_module_of_ones_own_as_policy_sees_a_picture_in_its_shape():
    policy = ActorCriticNet(module=lambda: Own(3)).build(Spec((PICTURE,)), CHOICE, Streams([0, 1]))
    assert policy(torch.rand(2, 6, 84)).shape == (2, 6, 3) and policy.value(torch.rand(2, 6, 84)).shape == (2, 6)


def test_rows_come_apart_and_together_again():
    spec = Spec((VECTOR, PICTURE, Field("one", (), "int64", "discrete", (4,), (0,)), Field("bits", (2, 2), "int8", "multi-binary", (2,) * 4, (0,) * 4), MASK))
    assert spec.size == 3 + 84 + 4 + 4 + 3 and spec.byte_size == 84
    seen = rows(spec, 2, 5)
    fields = spec.unpack(seen)
    assert {name: tuple(field.shape[2:]) for name, field in fields.items()} == {"v": (3,), "p": (7, 6, 2), "one": (4,), "bits": (2, 2), "action_mask": (3,)}
    torch.testing.assert_close(pack(spec, fields), seen, rtol=0, atol=0)
    floats, pixels = spec.split(seen)
    assert floats.shape[-1] == spec.size - 84 and pixels.dtype == torch.uint8
    torch.testing.assert_close(spec.join(floats, pixels), seen, rtol=0, atol=0)
    flat = Spec((VECTOR,))
    kept, nothing = flat.split(seen[..., :3])
    assert nothing.shape == (2, 5, 0) and torch.equal(flat.join(kept, nothing), seen[..., :3])
    assert hash(spec) == hash(Spec(tuple(spec.fields))) and spec == Spec(tuple(spec.fields))
