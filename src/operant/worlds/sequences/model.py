"""A one-layer transformer on a sequence problem: the same exact figures, through the code that language methods use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from operant.core.records import Rollout
from operant.core.seeds import derive_seed
from operant.nets.language import Statistics, TokenCritic, TokenPolicy
from operant.nets.policy import TrainedPolicy
from operant.nets.tabular import draw, prefix_index
from operant.worlds.sequences.problems import SequenceProblem

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def sequence_model(problem: SequenceProblem, seed: int, *, width: int = 16, scale: float = 0.2, dtype: torch.dtype = torch.float64) -> LlamaForCausalLM:
    """A Llama of one layer and two heads whose input vocabulary is the problem's tokens and then its prompts, and whose output is the problem's tokens alone.

    The normalisation layers compute in `dtype` (the ones of transformers compute in float32), so that float64 is float64 throughout.

    Args:
        problem: the problem.
        seed: of the weights.
        width: of the hidden layers, a multiple of 4; the feed-forward layer has twice as many units.
        scale: standard deviation of the weights.
        dtype: float64 for exact figures.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=problem.vocabulary + problem.prompts,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=problem.length + 1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0 if problem.stops else None,
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config)
    model.set_output_embeddings(nn.Linear(width, problem.vocabulary, bias=False, device="meta").to_empty(device="cpu"))
    layer = model.model.layers[0]
    layer.input_layernorm, layer.post_attention_layernorm, model.model.norm = (nn.RMSNorm(width, eps=config.rms_norm_eps) for _ in range(3))
    model.to(dtype)
    generator = torch.Generator().manual_seed(derive_seed(seed, "sequences", "model"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, scale, generator=generator)
    return model.eval()


class SequenceModelPolicy(TrainedPolicy):
    """A causal language model as a policy of this world; one seed (S is 1).

    Args:
        model: a Hugging Face causal LM whose inputs are the problem's tokens, then its prompts (`vocabulary + prompt`), and whose outputs are the problem's
            tokens.
        problem: the problem.
        critic: a value function beside the policy; None for none.
    """

    span = "row"
    seeds = 1

    def __init__(self, model: nn.Module, problem: SequenceProblem, critic: TokenCritic | None = None):
        super().__init__()
        self.problem = problem
        self.tokens = TokenPolicy(model, critic=critic)

    @property
    def temperature(self) -> float:
        """Of the softmax, above 0."""
        return self.tokens.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.tokens.temperature = value

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = (), statistics: Statistics | None = None) -> dict[str, Tensor]:
        """As `TabularPolicy.replay`, by one forward pass over `[prompt, tokens]` rows."""
        return self.tokens.replay(self._rows(inputs["prompt"], action), action, needs, statistics)

    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """As `TabularPolicy.values`."""
        return self.tokens.values(replace(rollout, inputs=self._rows(rollout.inputs["prompt"], rollout.action)))

    def _rows(self, prompt: Tensor, action: Tensor) -> dict[str, Tensor]:
        tokens = torch.cat([self.problem.vocabulary + prompt.unsqueeze(-1), action], -1)
        return {"tokens": tokens, "prompt_length": torch.ones_like(prompt), "length": 1 + prefix_index(self.problem, action)[1].sum(-1)}

    @torch.no_grad()
    def sample(self, prompt: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `TabularPolicy.sample`, by one forward pass a step."""
        action = torch.zeros(uniforms.shape, dtype=torch.int64, device=prompt.device)
        for step in range(uniforms.shape[-1]):
            mask = prefix_index(self.problem, action[..., : step + 1])[1]
            logits = self.replay({"prompt": prompt}, action[..., : step + 1], {"logits"})["logits"]
            action[..., step] = draw(logits[..., step, :], uniforms[..., step]) * mask[..., step]
        return action, self.replay({"prompt": prompt}, action)["log_prob"], prefix_index(self.problem, action)[1]
