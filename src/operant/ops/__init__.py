"""Pure tensor functions, one equation each. They import torch alone and take any leading axes; time, where there is one, is the last axis."""

from operant.ops.advantage import gae, group_normalized_advantage, normalize
from operant.ops.distribution import (
    categorical_log_prob,
    gaussian_entropy,
    gaussian_log_prob,
    tanh_gaussian_log_prob,
    tanh_log_det,
    token_log_prob_and_entropy,
)
from operant.ops.divergence import bernoulli_tilt_kl, categorical_kl, entropy_from_logits, f_generator, kl_k1, kl_k2, kl_k3
from operant.ops.group_advantage import (
    answer_entropy,
    batch_scaled_advantage,
    beta_normalized_advantage,
    beta_parameters,
    group_mean_advantage,
    median_split_advantage,
    sign_weighted_score,
    virtual_max_advantage,
)
from operant.ops.importance import assumed_behaviour_log_prob, exploration_weight, mixed_importance_ratio
from operant.ops.log_ratio_regression import (
    class_balanced_weight,
    leave_one_out,
    leave_one_out_cross_entropy,
    log_ratio_regression_loss,
    mean_log_prob,
    running_mean,
    standardized_log_ratio_loss,
    token_outcome_weights,
    uniform_policy_target,
)
from operant.ops.policy import advantage_weight, clipped_ratio_loss, policy_ratio, ratio_clip_fraction
from operant.ops.reduce import row_mean, row_sum, step_weights
from operant.ops.value import clipped_value_loss, expectile_loss, huber_loss, soft_value, td_target, temperature_loss

__all__ = [
    "advantage_weight",
    "answer_entropy",
    "assumed_behaviour_log_prob",
    "batch_scaled_advantage",
    "bernoulli_tilt_kl",
    "beta_normalized_advantage",
    "beta_parameters",
    "categorical_kl",
    "categorical_log_prob",
    "class_balanced_weight",
    "clipped_ratio_loss",
    "clipped_value_loss",
    "entropy_from_logits",
    "expectile_loss",
    "exploration_weight",
    "f_generator",
    "gae",
    "gaussian_entropy",
    "gaussian_log_prob",
    "group_mean_advantage",
    "group_normalized_advantage",
    "huber_loss",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "leave_one_out",
    "leave_one_out_cross_entropy",
    "log_ratio_regression_loss",
    "mean_log_prob",
    "median_split_advantage",
    "mixed_importance_ratio",
    "normalize",
    "policy_ratio",
    "ratio_clip_fraction",
    "row_mean",
    "row_sum",
    "running_mean",
    "sign_weighted_score",
    "soft_value",
    "standardized_log_ratio_loss",
    "step_weights",
    "tanh_gaussian_log_prob",
    "tanh_log_det",
    "td_target",
    "temperature_loss",
    "token_log_prob_and_entropy",
    "token_outcome_weights",
    "uniform_policy_target",
    "virtual_max_advantage",
]
