"""The sampling plan of language methods, free of heavy imports so that methods can name it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from operant.core.errors import BadInput


@dataclass(frozen=True)
class Groups:
    """`prompts` problems an iteration, `n` completions of each, side by side.

    Attributes:
        max_new_tokens: limit of a completion, with its end token; None for the longest that the task calls for.
        temperature: of sampling and of the policy that is trained, above 0.
    """

    prompts: int = 16
    n: int = 16
    max_new_tokens: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise BadInput(f"text groups: {field.name}={value} must be above 0; nearest: 1")
