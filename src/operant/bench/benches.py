"""The benches. Sizes are those that the peer's users run, and our side does the same work with the same hyper-parameters."""

from __future__ import annotations

from dataclasses import replace

from operant.bench.harness import Comparison, Contestant, bench

CARTPOLE, HALFCHEETAH = "CartPole-v1", "HalfCheetah-v5"
POINTMAZE_DATA, POINTMAZE_TASK = "ogbench:pointmaze-medium-navigate-v0", "ogbench:pointmaze-medium-navigate-singletask-v0"


def peer(label: str, module: str, *arguments: object, requires: tuple[str, ...]) -> Contestant:
    """A module of `operant.bench.peers`, with one thread: at these sizes a second one only makes the first wait."""
    return Contestant(label, ("-m", f"operant.bench.peers.{module}", *map(str, arguments)), requires=requires, threads=1)


def ours(
    method: str, task: str, *, seeds: int, steps: int, target: float, threads: int = 1, requires: tuple[str, ...] = (), **hyperparameters: object
) -> Contestant:
    """`operant train` of one method, on one thread unless `threads` says otherwise: many stacked seeds use both cores, which one seed of a peer cannot."""
    options = [part for name, value in hyperparameters.items() for part in (f"--{name}", str(value))]
    run = (
        "--seeds",
        str(seeds),
        "--steps",
        str(steps),
        "--seed",
        "0",
        "--threads",
        str(threads),
        "--every",
        str(steps),
        "--episodes",
        "1",
        "--out",
        "{out}",
        "--json",
    )
    label = f"operant, {seeds} seed{'s' if seeds > 1 else ''}"
    return Contestant(label, ("-m", "operant", "train", method, "--task", task, *run, *options), requires=requires, target=target)


@bench("ppo-cartpole")
def ppo_cartpole() -> Comparison:
    steps = 300_000
    sizes = {"environments": 8, "rollout_length": 128, "minibatches": 4, "epochs": 4}
    return Comparison(
        about="PPO on CartPole-v1: 8 environments x 128 steps, batch 256, 4 epochs; steps of all seeds",
        unit="environment steps",
        basis="process",
        peer=peer(
            "Stable-Baselines3",
            "sb3_ppo",
            *("--env", CARTPOLE, "--steps", steps, "--envs", 8, "--rollout", 128, "--batch", 256, "--epochs", 4),
            requires=("stable_baselines3",),
        ),
        ours=(
            ours("ppo", f"gym:{CARTPOLE}", seeds=1, steps=steps, target=3, **sizes),
            ours("ppo", f"gym:{CARTPOLE}", seeds=8, steps=steps, target=8, threads=2, **sizes),
        ),
    )


@bench("ppo-halfcheetah")
def ppo_halfcheetah() -> Comparison:
    steps = 40_960
    return Comparison(
        about="PPO on HalfCheetah-v5: 1 environment x 2048 steps, batch 64, 10 epochs (the peer's defaults); steps of all seeds",
        unit="environment steps",
        basis="process",
        peer=peer("Stable-Baselines3", "sb3_ppo", "--env", HALFCHEETAH, "--steps", steps, requires=("stable_baselines3", "mujoco")),
        ours=(ours("ppo", f"gym:{HALFCHEETAH}", seeds=8, steps=steps, target=3, threads=2, environments=1, rollout_length=2048, minibatches=32, epochs=10),),
    )


@bench("sac-halfcheetah")
def sac_halfcheetah() -> Comparison:
    steps = 2000
    return Comparison(
        about="SAC on HalfCheetah-v5: batch 256, 2 x 256 units, one update a step (the peer's defaults); steps of all seeds",
        unit="environment steps",
        basis="process",
        peer=peer("Stable-Baselines3", "sb3_sac", "--env", HALFCHEETAH, "--steps", steps, requires=("stable_baselines3", "mujoco")),
        ours=(
            ours("sac-v2", f"gym:{HALFCHEETAH}", seeds=1, steps=steps, target=1.5, learning_starts=100),
            ours("sac-v2", f"gym:{HALFCHEETAH}", seeds=8, steps=steps, target=2.5, threads=2, learning_starts=100),
        ),
    )


LANGUAGE = ("transformers", "tokenizers")
LENGTHS = (64, 256)  # most tokens of a completion: the two settings of both language benches


@bench("grpo-step")
def grpo_step() -> Comparison:
    work = {length: ("--steps", 20 if length == 64 else 10, "--tokens", length) for length in LENGTHS}
    peers = [peer(f"TRL, {length} tokens", "trl_grpo", *work[length], requires=("trl", "datasets", *LANGUAGE)) for length in LENGTHS]
    return Comparison(
        about="GRPO on a Llama of 0.8M parameters: 8 prompts x 8 completions of at most 64 or 256 tokens, one update a step in 2 micro-batches",
        unit="GRPO steps",
        basis="training",
        peer=peers[0],
        ours=_each_with_its_own("operant_grpo", peers, work, target=2.5),
    )


@bench("grpo-smollm2")
def grpo_smollm2() -> Comparison:
    work, needs = ("--model", "smollm2", "--steps", 4, "--tokens", 48), ("peft", *LANGUAGE)
    return Comparison(
        about="GRPO with an adapter of rank 16 on SmolLM2-135M-Instruct: 4 prompts x 4 completions of at most 48 tokens, one update a step",
        unit="GRPO steps",
        basis="training",
        peer=peer("TRL", "trl_grpo", *work, requires=("trl", "datasets", *needs)),
        ours=(replace(peer("operant", "operant_grpo", *work, requires=needs), target=1.5),),
        prepare=(("-m", "operant.bench.peers.smollm2"),),
    )


@bench("generate")
def generate() -> Comparison:
    work = {length: ("--batches", 10, "--tokens", length) for length in LENGTHS}
    peers = [peer(f"model.generate, {length} tokens", "transformers_generate", *work[length], requires=LANGUAGE) for length in LENGTHS]
    return Comparison(
        about="Sampling alone, Llama of 0.8M parameters: 8 prompts x 8 completions of at most 64 or 256 tokens, temperature 1",
        unit="tokens",
        basis="training",
        peer=peers[0],
        ours=_each_with_its_own("operant_generate", peers, work, target=2),
    )


def _each_with_its_own(module: str, peers: list[Contestant], work: dict[int, tuple], *, target: float) -> tuple[Contestant, ...]:
    """Our side in each setting, beside the peer in that setting."""
    sides = [peer(f"operant, {length} tokens", module, *arguments, requires=LANGUAGE) for length, arguments in work.items()]
    return tuple(replace(side, target=target, peer=other if place else None) for place, (side, other) in enumerate(zip(sides, peers, strict=True)))


@bench("iql-update")
def iql_update() -> Comparison:
    return Comparison(
        about="Implicit Q-learning: batch 256, 3 x 256 units",
        unit="updates",
        basis="training",
        peer=peer("OGBench GCIQL (JAX)", "ogbench_iql", "--steps", 1000, requires=("jax", "flax", "distrax", "optax", "ml_collections")),
        ours=(ours("iql", POINTMAZE_TASK, seeds=1, steps=3000, target=1, requires=("ogbench",), batch_size=256, hidden="256,256,256"),),
        prepare=(("-m", "operant", "data", "make", POINTMAZE_DATA, "--steps", "100000", "--seed", "0"),),
    )
