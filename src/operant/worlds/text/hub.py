"""The Hugging Face hub, tried once and quickly: on a machine that cannot reach it, each file would be asked for again and again for most of a minute."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import get_session, validate_repo_id

from operant.core.errors import BadInput


def located(path_or_hub_id: str | Path) -> str | Path:
    """What to load a model from: the folder or hub id that was given, or, where the hub does not answer, its folder in the hub's local cache.

    HF_ENDPOINT, HF_HUB_ETAG_TIMEOUT (how long is waited for the answer, 10 s), HF_HUB_OFFLINE (the hub is not
    asked) and proxies are as everywhere in `huggingface_hub`.

    Raises:
        BadInput: the hub does not answer, and the cache does not have the model.
    """
    name = str(path_or_hub_id)
    if Path(name).exists():
        return path_or_hub_id
    try:
        validate_repo_id(name)
    except HFValidationError:
        return path_or_hub_id
    fault = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _fault(hf_hub_url(name, "config.json"))
    if fault is None:
        return path_or_hub_id
    if isinstance(kept := try_to_load_from_cache(name, "config.json"), str):
        return Path(kept).parent
    raise BadInput(
        f"language model {name!r}: no such folder is here, and {constants.ENDPOINT} cannot be reached ({fault}); "
        f"copy the model's folder to this machine and name it, as in --model ./{name.rpartition('/')[2]}"
    )


@cache
def _fault(url: str) -> str | None:
    """Why the hub gives no answer at all, None where it gives some."""
    found = [f"no answer in {constants.HF_HUB_ETAG_TIMEOUT} s"]

    def ask() -> None:
        try:
            get_session().head(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            found[0] = None
        except Exception as error:  # of whichever HTTP library huggingface_hub uses
            found[0] = " ".join(str(error).split()) or type(error).__name__

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name cannot be stopped otherwise
    asking.start()
    asking.join(constants.HF_HUB_ETAG_TIMEOUT)
    return found[0]
