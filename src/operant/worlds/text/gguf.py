"""Models from GGUF files, the format of llama.cpp: read, dequantised to float32 and written as Hugging Face folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from operant.core.errors import BadInput
from operant.core.files import check_source, check_target, given_path
from operant.worlds.text.models import save_weights


def import_gguf(path: str | Path, out: str | Path, chat_template: str | Path | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
    """Write the model of a GGUF file to the new folder `out`, with its tokenizer and chat template, as `--model` takes it. Nothing is downloaded.

    Memory: the weights once in float32, four bytes a parameter, and one tensor more.

    Args:
        chat_template: a file with a Jinja template that takes the place of the file's own.
        say: hears a line when the reading begins.

    Raises:
        BadInput: the package `gguf` is missing, there is no such file or it is no GGUF file, transformers does not know its architecture, it has no end token,
            or `out` exists.
    """
    path, out = given_path(path, "PATH.gguf"), given_path(out, "--out")
    if find_spec("gguf") is None:
        raise BadInput("GGUF files are read by the package gguf: pip install 'operant[gguf]'")
    check_source(path)
    if chat_template is not None:
        check_source(given_path(chat_template, "--chat-template"))
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        template = None if chat_template is None else given_path(chat_template, "--chat-template").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        wrong = chat_template if isinstance(error, UnicodeDecodeError) else error.filename
        raise BadInput(f"{wrong} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if magic != b"GGUF":
        raise BadInput(f"{path} is no GGUF file: it begins with {magic!r}")
    if out.exists() or not out.name:
        raise BadInput(f"--out {out} is there already; name a new folder")
    partial = out.with_name(f"{out.name}.partial")
    check_target(partial)
    say(f"reading {path}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except Exception as error:  # of whatever a file holds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BadInput(f"{path} cannot be read as a model: {reason}") from error
    if tokenizer.eos_token_id is None:
        raise BadInput(f"{path} names no end token, so no answer would end")
    if template is not None:
        tokenizer.chat_template = template
    del model.config.quantization_config  # weights are float32 now; a folder that says otherwise is not read
    try:
        partial.mkdir(parents=True)
        save_weights(partial, model, model.state_dict())
        tokenizer.save_pretrained(partial)
        partial.rename(out)
    except OSError as error:
        raise BadInput(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out
