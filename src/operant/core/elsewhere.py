"""What Stable-Baselines3 (with sb3-contrib and SBX) and CleanRL call the settings of a training, and what they are called here.

Names that are the same are left out. `docs/control.md` has this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """One setting.

    Attributes:
        names: as they are written there.
        here: here, the first that a method has; none where there is nothing of the kind.
        differs: what is counted or said otherwise, or why there is nothing.
        of_run: it is no method's, but the run's, which all have.
    """

    names: tuple[str, ...]
    here: tuple[str, ...]
    differs: str = ""
    of_run: bool = False


ELSEWHERE = (
    Elsewhere(("env", "env_id"), ("task",), "with its kind, as in gym:CartPole-v1", of_run=True),
    Elsewhere(("total_timesteps",), ("steps",), "steps of each seed", of_run=True),
    Elsewhere(("tensorboard_log",), ("track",), "its value is tensorboard or wandb", of_run=True),
    Elsewhere(("cuda",), ("device",), "its value is auto, cpu or cuda", of_run=True),
    Elsewhere(("eval_freq",), ("every",), "steps of all copies of the environment together", of_run=True),
    Elsewhere(("n_eval_episodes",), ("episodes",), of_run=True),
    Elsewhere(("n_envs", "num_envs"), ("environments",), "copies for each seed"),
    Elsewhere(("n_steps",), ("rollout_length", "n_step")),
    Elsewhere(("num_steps",), ("rollout_length",)),
    Elsewhere(("n_epochs", "update_epochs"), ("epochs",)),
    Elsewhere(("n_critic_updates",), ("value_epochs",)),
    Elsewhere(("num_minibatches",), ("minibatches", "value_minibatches")),
    Elsewhere(("batch_size",), ("minibatches", "value_minibatches"), "their count in a pass: rollout_length × environments / batch_size"),
    Elsewhere(("learning_rate",), ("value_learning_rate",), "the policy's step is bounded by its KL"),
    Elsewhere(("q_lr", "policy_lr"), ("learning_rate",), "one for actor and critics"),
    Elsewhere(("anneal_lr",), ("anneal",)),
    Elsewhere(("gae_lambda", "q_lambda"), ("lam",)),
    Elsewhere(("clip_range", "clip_coef"), ("clip",), "a number; anneal_clip lowers it to 0"),
    Elsewhere(("clip_range_vf", "clip_vloss"), (), "the value loss is not clipped"),
    Elsewhere(("norm_adv", "normalize_advantage"), ("normalize_advantage",), "its value is minibatch or rollout"),
    Elsewhere(("vf_coef",), ("value_coefficient",)),
    Elsewhere(("ent_coef",), ("entropy_coefficient",)),
    Elsewhere(("ent_coef",), ("alpha",), "a number, to leave it at that; left out, it is tuned from initial_alpha on, as by auto"),
    Elsewhere(("autotune",), ("alpha",), "a number for False; left out, it is tuned"),
    Elsewhere(("norm_obs",), ("normalize_observation",)),
    Elsewhere(("norm_reward",), ("normalize_reward",)),
    Elsewhere(("target_kl",), ("target_kl", "max_kl"), "max_kl is TRPO's; CleanRL looks once an epoch, and goes on up to the target, not up to 1.5 times it"),
    Elsewhere(("cg_max_steps",), ("conjugate_gradients",)),
    Elsewhere(("cg_damping",), ("damping",)),
    Elsewhere(("line_search_max_iter",), ("backtracks",)),
    Elsewhere(("line_search_shrinking_factor",), ("shrink",)),
    Elsewhere(("buffer_size",), ("capacity",), "transitions of each seed"),
    Elsewhere(("train_freq", "train_frequency"), ("update_every",), "counts steps of all copies: train_freq × n_envs; how many updates, updates_per_step says"),
    Elsewhere(("gradient_steps",), ("updates_per_step", "critic_updates"), "gradient_steps / (train_freq × n_envs); for -1 it is 1"),
    Elsewhere(("target_update_interval", "target_network_frequency"), ("target_every",), "counts updates, not steps: interval × updates_per_step"),
    Elsewhere(("exploration_fraction",), ("epsilon_share",)),
    Elsewhere(("exploration_initial_eps", "start_e"), ("epsilon_start",)),
    Elsewhere(("exploration_final_eps", "end_e"), ("epsilon_end",)),
    Elsewhere(("n_quantiles",), ("quantiles",)),
    Elsewhere(("n_atoms",), ("bins",)),
    Elsewhere(("policy_frequency",), ("policy_delay",)),
    Elsewhere(("target_policy_noise", "policy_noise"), ("target_noise",)),
    Elsewhere(("target_noise_clip",), ("noise_clip",)),
    Elsewhere(("action_noise",), ("exploration_noise",), "the deviation of Gaussian noise, in units of half the range of actions"),
    Elsewhere(("n_critics",), ("critics",)),
    Elsewhere(("n_critics",), (), "as many critics as its paper has; redq and droq take --critics"),
    Elsewhere(("max_grad_norm",), (), "methods with replay leave gradients as they are, the family of dqn cuts them at a norm of 10"),
    Elsewhere(("n_sampled_goal", "replay_buffer_class", "replay_buffer_kwargs"), ("hindsight",), "HerReplayBuffer's n_sampled_goal; 0 for none"),
    Elsewhere(("goal_selection_strategy",), (), "goals in hindsight are drawn as by its strategy future"),
    Elsewhere(("dropout_rate",), ("dropout",)),
    Elsewhere(("policy_kwargs", "net_arch"), ("hidden",), "widths of the layers; their activation_fn is activation"),
    Elsewhere(("activation_fn",), ("activation",), "its value is relu, tanh, elu, …"),
    Elsewhere(("use_sde", "sde_sample_freq"), (), "noise that depends on the state is not here"),
    Elsewhere(("optimize_memory_usage",), (), "replay keeps each frame once by itself"),
)


def named_elsewhere(name: str, known: Iterable[str]) -> str | None:
    """The end of an error for a name of theirs: what it is among the known ones; None where it is none of theirs, or nothing here.

    Args:
        name, known: settings, or options with their hyphens; the known ones may have an owner before them.
    """
    option, plain = name.startswith("--"), _plain(name)
    of = {_plain(each): each for each in sorted(known, key=lambda each: ("." in each, each), reverse=True)}  # the one without an owner, where there are several
    for each in ELSEWHERE:
        if plain in each.names:
            if not each.here:
                return f"there is no {name} here: {each.differs}"
            found = next((of[here] for here in each.here if here in of), each.here[0] if each.of_run and not option else None)
            if found is not None:
                return f"{name} is {found} here" + f" ({each.differs})" * bool(each.differs)
    return None


def _plain(name: str) -> str:
    return name.rpartition(".")[2].lstrip("-").replace("-", "_")


def table() -> list[str]:
    """The table of the documentation: rows of Markdown."""

    def code(names: Iterable[str], before: str = "", between: str = ", ") -> str:
        return between.join(f"`{before}{name}`" for name in names)

    def row(each: Elsewhere) -> str:
        here = code((name.replace("_", "-") for name in each.here), "--", " or ")
        return f"| {code(each.names)} | {here or 'none'} | {each.differs} |"

    return ["| There | Here | What differs |", "|---|---|---|", *map(row, ELSEWHERE)]
