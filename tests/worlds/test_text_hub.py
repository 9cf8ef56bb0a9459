"""Models by their hub id: from a hub that answers, from its local cache where it does not, and one line where there is neither."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from huggingface_hub import constants
from long_tier import in_turn
from text_folders import folder_of

from operant.core.errors import BadInput
from operant.worlds.text.hub import located

NAME, OTHER, COMMIT = "somebody/some-model", "somebody/other", 40 * "0"
PROGRAM = f"""
import os, sys
import transformers.models.llama.modeling_llama
from operant.core.errors import BadInput
from operant.worlds.text.models import load_config, load_model, load_tokenizer
for line in sys.stdin:  # for each a process that knows nothing of the ones before
    if os.fork() == 0:
        try:
            print(type(load_model({NAME!r})).__name__, len(load_tokenizer({NAME!r})), load_config({NAME!r}).model_type)
            load_config({OTHER!r})
        except BadInput as error:
            print(error, flush=True)
        finally:
            os._exit(0)
    os.wait()
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as huggingface_hub asks for, with one model."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        folder, path = self.server.folder, self.path.partition("?")[0]
        self.server.asked.append(path)
        names = [path.name for path in folder.iterdir()]
        file = folder / path.rpartition("/")[2]
        if path.startswith(f"/{NAME}/resolve/") and file.name in names:
            content, kind = file.read_bytes(), "application/octet-stream"
        elif path == f"/api/models/{NAME}":
            content, kind = json.dumps({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}).encode(), "application/json"
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        headers = {"Content-Type": kind, "Content-Length": len(content), "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """A hub at a free port, and the environment of a process that asks it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.folder, server.asked = folder_of("llama", tmp_path), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        without = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("HF_")}
        server.environment = without | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "cache")}
        yield server
        server.shutdown()


@in_turn("hub", "src/operant/worlds/text/")
def test_from_the_hub_and_then_from_its_cache(hub, tmp_path):
    with (tmp_path / "said").open("w+") as said:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": said}
        with subprocess.Popen([sys.executable, "-c", PROGRAM], env=hub.environment, text=True, **pipes) as asking:

            def told() -> list[str]:
                print(file=asking.stdin, flush=True)
                return [asking.stdout.readline().rstrip("\n") for _ in range(2)]

            first, answer = told()
            assert first.startswith("LlamaForCausalLM ") and "cannot be loaded" in answer and "cannot be reached" not in answer
            assert any(path.endswith(".safetensors") for path in hub.asked)
            hub.shutdown()
            hub.server_close()
            again, answer = told()
            assert again == first
            endpoint = hub.environment["HF_ENDPOINT"]
            assert answer.startswith(f"language model '{OTHER}': no such folder is here, and {endpoint} cannot be reached (") and "refused" in answer
            assert answer.endswith("copy the model's folder to this machine and name it, as in --model ./other")
        said.seek(0)
        assert "Retrying" not in said.read()


def test_a_hub_that_must_not_be_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"cannot be reached \(HF_HUB_OFFLINE is set\); copy the model's folder"):
        located("nobody/has-this-model")
    assert located(tmp_path) == tmp_path and located("no/hub/id") == "no/hub/id"
