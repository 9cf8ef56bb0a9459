"""Taking the state out of a Gymnasium environment, and putting it into a fresh one, as plain values.

An environment is a chain of layers: wrappers, and the environment itself. A layer can be taken when it says how (`state_dict`/`load_state_dict` or
`get_state`/`set_state`), or when it is one whose attributes are its whole Python state: Gymnasium's wrappers, classic control and MuJoCo, OGBench's mazes.
Other code may keep state where nobody sees it (a module, a global generator, an edited simulator model), so for it nothing is promised.
"""

from __future__ import annotations

import sys
from collections import deque
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import gymnasium
import numpy as np
import torch

from operant.core.errors import a_type

_SIMULATED = ("gymnasium.envs.mujoco.", "ogbench.locomaze.")  # by MuJoCo; of OGBench's edits of its model only the picture of the goal shows
_OWN = ("gymnasium.wrappers.", "gymnasium.envs.classic_control.", *_SIMULATED)
_MADE = {"_ezpickle_args", "_ezpickle_kwargs", "fullpath"}  # OGBench's name a temporary file, another one each time
_METHODS = (("state_dict", "load_state_dict"), ("get_state", "set_state"))
_GENERATORS = {"PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM}

# What MuJoCo computes from the state and Gymnasium's environments read before the next step computes it again (Ant's and Humanoid's speeds are
# differences of positions that lag by one substep). mj_setState does not restore these.
_DERIVED = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "cam_xpos", "cam_xmat"),
    *("subtree_com", "subtree_linvel", "subtree_angmom", "cdof", "cinert", "cvel", "cacc", "cfrc_int", "cfrc_ext", "qacc", "act_dot", "sensordata"),
    *("qfrc_bias", "qfrc_passive", "qfrc_actuator", "qfrc_smooth", "qfrc_constraint", "qfrc_inverse", "actuator_length", "actuator_velocity"),
    *("actuator_force", "ten_length", "ten_velocity", "energy"),
)


class Whole(gymnasium.Wrapper):
    """A wrapper whose `state_dict` holds that of everything inside it."""


class NotPlain(TypeError):
    """A value that cannot be written as plain values."""


def layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    """The chain from the outermost wrapper to the environment itself, or to what speaks for it."""
    chain = [env]
    while isinstance(chain[-1], gymnasium.Wrapper) and not isinstance(chain[-1], Whole):
        chain.append(chain[-1].env)
    return chain


def resumable(env: gymnasium.Env) -> bool:
    """Whether `restore` of what `take` gives continues bit for bit."""
    try:
        return all(_methods(layer) or (type(layer).__module__.startswith(_OWN) and _attributes(layer) is not None) for layer in layers(env))
    except NotPlain:
        return False


def take(env: gymnasium.Env) -> list[dict]:
    """The state of each layer, outermost first: dicts and lists of arrays, numbers and text. Raises `NotPlain` for a value of another kind."""
    return [_take_layer(layer) for layer in layers(env)]


def restore(env: gymnasium.Env, state: list[dict], *, generator: bool = True) -> None:
    """Put a state of `take` into an environment that has been reset once.

    Args:
        generator: with the state of its random generator; otherwise its own goes on.
    """
    for layer, saved in zip(layers(env), state, strict=True):
        if "own" in saved:
            getattr(layer, _methods(layer)[1])(_decode(saved["own"]))
        for name, value in saved["attributes"].items():
            if generator or name != "_np_random":
                layer.__dict__[name] = _decode(value)
        if "integration" in saved:
            mujoco = sys.modules["mujoco"]
            mujoco.mj_setState(layer.model, layer.data, np.asarray(saved["integration"]), mujoco.mjtState.mjSTATE_INTEGRATION)
            derived, at = np.asarray(saved["derived"]), 0
            for array in _derived(layer.data):
                array[...] = derived[at : at + array.size].reshape(array.shape)
                at += array.size


def _take_layer(layer: gymnasium.Env) -> dict:
    methods = _methods(layer)
    if methods:
        generator = layer.__dict__.get("_np_random")
        attributes = {} if generator is None else {"_np_random": _encode(generator)}
        return {"own": _encode(getattr(layer, methods[0])()), "attributes": attributes}
    state = {"attributes": _attributes(layer)}
    if type(layer).__module__.startswith(_SIMULATED):
        mujoco = sys.modules["mujoco"]
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        state["integration"] = np.empty(mujoco.mj_stateSize(layer.model, kind))
        mujoco.mj_getState(layer.model, layer.data, state["integration"], kind)
        state["derived"] = np.concatenate([array.ravel() for array in _derived(layer.data)])
    return state


def _methods(layer: gymnasium.Env) -> tuple[str, str] | None:
    """The names of the two methods by which a layer's class gives and takes its state. (A wrapper does not pass on those of the layer inside.)"""
    for pair in _METHODS:
        if all(callable(getattr(type(layer), name, None)) for name in pair):
            return pair
    return None


def _attributes(layer: gymnasium.Env) -> dict:
    """The layer's own attributes, without how it was made and the links, spaces and handles that a fresh object has by itself."""
    return {name: _encode(value) for name, value in layer.__dict__.items() if name not in _MADE and not _handle(value)}


def _handle(value: object) -> bool:
    fixed = (gymnasium.Env, gymnasium.Space, gymnasium.envs.registration.EnvSpec, ModuleType, FunctionType, BuiltinFunctionType, MethodType, type)
    return isinstance(value, fixed) or type(value).__module__.split(".")[0] == "mujoco" or type(value).__name__ == "MujocoRenderer"


def _derived(data) -> list[np.ndarray]:
    return [array for array in (getattr(data, name, None) for name in _DERIVED) if array is not None]


def _encode(value: object) -> object:
    """A value as JSON values and arrays. Containers and NumPy scalars carry their kind, because arithmetic depends on it."""
    if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return {"array" if isinstance(value, np.ndarray) else "scalar": np.array(value)}
    if isinstance(value, torch.Tensor):
        return {"tensor": value.detach().clone()}
    if isinstance(value, np.random.Generator) and type(value.bit_generator).__name__ in _GENERATORS:
        return {"generator": value.bit_generator.state}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    for kind in (list, tuple):
        if type(value) is kind:
            return {kind.__name__: [_encode(item) for item in value]}
    if type(value) is deque:
        return {"deque": [_encode(item) for item in value], "maxlen": value.maxlen}
    raise NotPlain(f"{a_type(value)} is not made of arrays, numbers and text")


def _decode(value: object) -> object:
    """The value that `_encode` was given."""
    if not isinstance(value, dict):
        return value
    kind, content = next((kind, content) for kind, content in value.items() if kind != "maxlen")
    match kind:
        case "array":
            return np.array(content)
        case "scalar":
            return np.asarray(content)[()]
        case "tensor":
            return content.clone()
        case "generator":
            bits = _GENERATORS[content["bit_generator"]]()
            bits.state = content
            return np.random.Generator(bits)
        case "dict":
            return {_decode(key): _decode(item) for key, item in content}
        case "list":
            return [_decode(item) for item in content]
        case "tuple":
            return tuple(_decode(item) for item in content)
        case "deque":
            return deque((_decode(item) for item in content), value["maxlen"])
    raise NotPlain(f"unknown kind {kind!r} in an environment's state")
