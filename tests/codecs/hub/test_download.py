"""Downloads, from a server here that answers as the hub does."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

pytest.importorskip("huggingface_hub")

NEW, OLD = "a" * 40, "b" * 40
WEIGHTS = save({"x": np.zeros(3, np.float32)})
ENCODEC = json.dumps({"model_type": "encodec"}).encode()

REPOSITORIES: dict[str, dict[str, bytes]] = {
    "some/codec": {
        "config.json": ENCODEC,
        "README.md": b"---\nlicense: mit\n---\n",
        "model.safetensors": WEIGHTS,
        "pytorch_model.bin": b"a pickle",
        "model.fp16.safetensors": WEIGHTS,
        "flax_model.msgpack": b"other weights",
    },
    "some/pickle": {"config.json": ENCODEC, "pytorch_model.bin": b"a pickle"},
    "some/sharded": {
        "config.json": ENCODEC,
        "model.safetensors.index.json": json.dumps(
            {"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}
        ).encode(),
        "model-1.safetensors": WEIGHTS,
        "model-2.safetensors": save({"y": np.zeros(3, np.float32)}),
        "model-3.safetensors": WEIGHTS,
    },
    "some/abacus": {"config.json": b'{"model_type": "abacus"}', "model.safetensors": WEIGHTS},
}

FETCH = """
import json, os, sys
from dataclasses import replace
from omnicodec.codecs import OmnicodecError
from omnicodec.codecs.hub.download import fetched
from omnicodec.codecs.hub.reference import parse
for name in sys.argv[1:]:
    try:
        folder = fetched(replace(parse(name), cached="ONLY_CACHED" in os.environ))
        files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
        print(json.dumps([folder.name, files]))
    except OmnicodecError as e:
        print(json.dumps([type(e).__name__, str(e)]))
"""


@dataclass
class Hub:
    """A hub that is running, and what it was asked for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)

    def fetch(self, cache: Path, *names: str, **variables: str) -> list[list[Any]]:
        """Return for each name its folder's name and files, or the error and its line."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": self.address, "HF_HOME": str(cache), **variables}
        run = subprocess.run(
            [sys.executable, "-c", FETCH, *names],
            capture_output=True,
            text=True,
            check=True,
            env=kept | own,
        )
        assert run.stderr == ""  # no progress where nobody sees it
        return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    running = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            running.asked.append(path)
            parts = path.strip("/").split("/")
            listing = parts[:2] == ["api", "models"]
            name = "/".join(parts[2:4] if listing else parts[:2])
            files = REPOSITORIES.get(name)
            if name == "some/gated":
                self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif files is None:
                self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif listing:
                self.listing(parts[4:], files)
            else:
                commit, file = parts[3], "/".join(parts[4:])
                etag = hashlib.sha256(files[file]).hexdigest()
                self.answer(200, files[file], {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

        def listing(self, what: list[str], files: dict[str, bytes]) -> None:
            revision = what[1] if len(what) > 1 else "main"
            commit = {"main": NEW, NEW: NEW, "v1": OLD, OLD: OLD}.get(revision)
            if commit is None:
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif what[:1] == ["tree"]:
                tree = [
                    {"type": "file", "path": k, "size": len(v), "oid": hashlib.sha1(v).hexdigest()}
                    for k, v in files.items()
                ]
                self.answer(200, json.dumps(tree).encode(), {})
            else:
                siblings = [{"rfilename": name} for name in files]
                facts = {"id": "x", "sha": commit, "siblings": siblings, "private": False}
                self.answer(200, json.dumps(facts).encode(), {})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            kind = "application/json" if body[:1] in b"[{" else "application/octet-stream"
            own = {"Content-Length": str(len(body)), "Content-Type": kind}
            for name, value in {**own, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.address = f"http://127.0.0.1:{server.server_port}"
        yield running
        server.shutdown()
        thread.join()


def test_what_is_fetched_and_what_is_refused(hub: Hub, tmp_path: Path) -> None:
    names = ["codec", "codec@v1", "sharded", "pickle", "abacus", "codec@v9", "none", "gated"]
    found = hub.fetch(tmp_path, *[f"hf:some/{name}" for name in names])
    codec = ["README.md", "config.json", "model.safetensors"]  # and no pickle, no other weights
    index = "model.safetensors.index.json"
    shards = ["config.json", "model-1.safetensors", "model-2.safetensors", index]
    assert found[:3] == [[NEW, codec], [OLD, codec], [NEW, shards]]
    errors = [
        ("InvalidInput", "only as a pickle (pytorch_model.bin)"),
        ("InvalidInput", "of no known family (model_type 'abacus'); known: "),
        ("UnknownCodec", "some/codec has no revision 'v9'"),
        ("UnknownCodec", "there is no repository some/none, or it is not public"),
        ("Unavailable", "hf:some/gated is gated: accept its terms on its page, and log in"),
    ]
    for (kind, line), (expected, said) in zip(found[3:], errors, strict=True):
        assert kind == expected
        assert said in line
        assert "\n" not in line
    command = """EncodecModel.from_pretrained('some/pickle', use_safetensors=False)"""
    assert command in found[3][1]
    assert not any(path.endswith(".bin") for path in hub.asked)


def test_what_is_in_the_cache_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    whole, again = hub.fetch(tmp_path, "hf:some/codec", "hf:some/codec")
    assert whole == again
    assert hub.asked.count("/api/models/some/codec/revision/main") >= 1
    offline = hub.fetch(tmp_path, "hf:some/codec", "hf:some/sharded", HF_HUB_OFFLINE="1")
    assert offline[0] == whole
    assert offline[1][0] == "Unavailable"
    assert offline[1][1].endswith("and HF_HUB_OFFLINE forbids to download it")
    hub_is_gone = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    cut_off = hub.fetch(
        tmp_path, "hf:some/codec", f"hf:some/codec@{NEW}", "hf:some/sharded", **hub_is_gone
    )
    assert cut_off[:2] == [whole, whole]
    assert cut_off[2][0] == "Unavailable"
    assert "the hub cannot be reached" in cut_off[2][1]
    assert "\n" not in cut_off[2][1]


def test_workers_take_what_is_cached_and_ask_nobody(hub: Hub, tmp_path: Path) -> None:
    (whole,) = hub.fetch(tmp_path, f"hf:some/codec@{OLD}")
    hub.asked.clear()
    names = (f"hf:some/codec@{OLD}", f"hf:some/codec@{NEW}", "hf:some/codec", "hf:none/such")
    found, *missing = hub.fetch(tmp_path, *names, ONLY_CACHED="1")
    assert found == whole
    for name, (kind, line) in zip(names[1:], missing, strict=True):
        assert kind == "Unavailable"
        assert line.startswith(f"{name} is not whole in the cache (")
        assert line.endswith(f"workers download nothing: run `omnicodec codecs {name}` on this "
                             "machine")  # fmt: skip
    (tmp_path / f"hub/models--some--codec/snapshots/{OLD}/model.safetensors").unlink()
    ((kind, line),) = hub.fetch(tmp_path, names[0], ONLY_CACHED="1")
    assert (kind, line.partition(" (")[0]) == (
        "Unavailable",
        f"{names[0]} is not whole in the cache",
    )
    assert not hub.asked


def test_a_process_asks_once(hub: Hub, tmp_path: Path) -> None:
    hub.asked.clear()
    hub.fetch(tmp_path, "hf:some/codec", "hf:some/codec", "hf:some/codec")
    assert hub.asked.count("/some/codec/resolve/" + NEW + "/model.safetensors") <= 2  # HEAD, GET
    assert sum("/revision/" in path for path in hub.asked) <= 2


def test_an_unfinished_download_is_finished(hub: Hub, tmp_path: Path) -> None:
    hub.fetch(tmp_path, "hf:some/codec")
    (weights,) = tmp_path.rglob("snapshots/*/model.safetensors")
    weights.unlink()
    found = hub.fetch(tmp_path, "hf:some/codec", HF_HUB_OFFLINE="1")
    assert found[0][0] == "Unavailable"
    assert hub.fetch(tmp_path, "hf:some/codec")[0][0] == NEW
    assert weights.read_bytes() == WEIGHTS
