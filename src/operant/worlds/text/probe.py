"""Whether rows of a language model can be generated and trained together: tried on two short rows, before a run."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.worlds.plans import Request
from operant.worlds.text.engine import generate
from operant.worlds.text.models import longest_row

LENGTHS, NEW = (3, 7), 4  # tokens of the two prompts, and of each answer
# Largest difference of log-probabilities that is rounding: nats, and as a share of the largest logit. A row that is not where it belongs differs by more.
ROUNDING = {torch.float32: (2e-4, 2e-5), torch.bfloat16: (0.1, 0.02)}


def probe(policy: TokenPolicy, dtype: torch.dtype) -> None:
    """Compare what generation records and what replay gives for two rows of different length with a plain forward pass of each row alone.

    It takes about ten forward passes of some ten tokens. What depends on longer rows is not seen here (`models.longest_row`).

    Args:
        dtype: of the policy's computation, float32 or bfloat16.

    Raises:
        BadInput: weights that are not finite, a model that cannot be run, that is not causal, or in which rows change each other.
    """
    model = policy.model
    name = type(model).__name__
    for parameter, value in model.named_parameters():
        if value.numel() and not all(bound.isfinite() for bound in value.detach().aminmax()):
            raise BadInput(f"{name} cannot be trained: its weights {parameter} hold NaN or infinity")
    try:
        with torch.no_grad():
            found = _differences(policy, dtype)
    except BadInput:
        raise
    except Exception as error:  # models raise what they like
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(f"{name} cannot be run: {type(error).__name__}{': ' * bool(reason)}{reason}") from error
    for what, difference in found.items():
        if not difference <= 1:
            raise BadInput(f"{name} {what}: it cannot be trained here")


def _differences(policy: TokenPolicy, dtype: torch.dtype) -> dict[str, float]:
    """By what would be wrong, the difference that says so, in units of what rounding allows."""
    model = policy.model
    vocabulary = model.get_input_embeddings().weight.shape[0]
    room = (longest_row(model.config) or sum(LENGTHS)) - NEW
    # Tokens far apart, and none of the first, where the special ones often stand; the shorter prompt is no prefix of the other.
    prompts = [tuple((vocabulary // 2 + 7 * place + length) % vocabulary for place in range(max(1, min(length, room)))) for length in LENGTHS]
    generation = generate(model, [Request(prompt) for prompt in prompts], max_new_tokens=NEW, greedy=True, eos_token_id=None, pad_token_id=0)
    replayed = policy.replay(generation_to_inputs(generation, 0), generation.tokens[None])["log_prob"][0]
    apart = {"generation": 0.0, "training": 0.0, "right": 0.0}
    for row, prompt in enumerate(prompts):
        ids = torch.tensor([[*prompt, *generation.tokens[row].tolist()]], device=model.device)
        alone = _log_probs(policy, ids)
        drawn = alone[len(prompt) - 1 : -1].gather(1, generation.tokens[row].unsqueeze(1)).squeeze(1)
        logit = alone.abs().max()
        absolute, relative = ROUNDING[dtype]
        allowed = max(absolute, relative * float(logit))
        begun = _log_probs(policy, ids[:, : len(prompt)])
        for name, mine, truth in (("right", begun, alone[: len(prompt)]), ("generation", generation.log_prob[row], drawn), ("training", replayed[row], drawn)):
            apart[name] = max(apart[name], float((mine - truth).abs().max().nan_to_num(torch.inf)) / allowed)
    return {
        "is not causal, tokens change what stands to the left of them (a decoder of the BERT family has is_decoder in its config)": apart["right"],
        "gives a row other log-probabilities when it is generated beside a longer one than by itself": apart["generation"],
        "gives a row other log-probabilities when it is learned from beside a longer one than by itself": apart["training"],
    }


def _log_probs(policy: TokenPolicy, ids: Tensor) -> Tensor:
    """Of the next token after each of `ids [1, L]`: `[L, V]`, by the model's own forward pass."""
    return policy.model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
