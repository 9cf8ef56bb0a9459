"""What a person may choose of a text task besides its name: the model, how it is held in memory and trained, and what rewards it. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from operant.core.registry import Range, Workers
from operant.worlds.options import TaskOptions


@dataclass(frozen=True)
class TextOptions(TaskOptions):
    model: str | None = None  # folder or hub id of the language model that training starts from; none for a small one made from scratch
    lora_rank: Annotated[int, Range(0)] = 0  # rank of a low-rank adapter, all that is then trained; its product counts twice (PEFT's alpha is 2 rank); 0: none
    dtype: Literal["float32", "bfloat16"] = "float32"  # of computation; what is trained stays in float32
    engine: Literal["operant", "vllm"] = "operant"  # what draws answers in training: the library's own, or vLLM in a process of its own (extra: vllm)
    generation_batch_size: Annotated[int | None, Range(1)] = None  # answers drawn at a time in training; none: all of a round, with workers a fourth
    gradient_checkpointing: bool = False  # keep each layer's input alone and compute the rest again: less memory, a third more time
    verifier: Any = None  # what scores answers, in training and evaluation, by name or module:function; none for the task's own
    evaluate_with: Any = None  # another verifier for evaluations; "task" for the task's own, none for --verifier (without the errors that "noisy" adds)
    verifier_workers: Workers = 2  # answers that are scored at a time, where the verifier runs in child processes
    chat: bool | None = None  # prompts go through the tokenizer's chat template; none: where a given model has one
    max_new_tokens: Annotated[int | None, Range(1)] = None  # tokens of the longest answer, in training and evaluation; none for the longest of the task's own
    teacher: str | None = None  # folder or hub id of the teacher, for methods that follow one; none for one made from scratch

    def given(self) -> dict[str, Any]:
        """As every task's, with folders under their absolute names."""
        found = super().given()
        for name in ("model", "teacher"):
            if name in found and Path(found[name]).is_dir():
                found[name] = str(Path(found[name]).resolve())
        for name in ("verifier", "evaluate_with"):
            kind, _, folder = found[name].partition(":") if isinstance(found.get(name), str) else ("", "", "")
            if kind == "reward-model" and Path(folder).is_dir():
                found[name] = f"{kind}:{Path(folder).resolve()}"
        return found
