"""Weights on the hub, against a stand-in that speaks the part of its protocol that is used here."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from lightendiff import LightenPipeline
from lightendiff.models.presets import PRESETS
from lightendiff.restorer import Restorer
from lightendiff.weights import hub
from lightendiff.weights.folder import CheckpointError
from lightendiff.weights.load import load

huggingface_hub = pytest.importorskip("huggingface_hub")
TOKEN = "hf_owners"


class StandIn(ThreadingHTTPServer):
    """A hub in memory: repositories by name, whose commits are dictionaries of files; branches name commits."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.private: dict[str, bool] = {}

    def commit(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        content = repr(sorted(files.items())).encode()
        sha = hashlib.sha1(content).hexdigest()
        self.commits.setdefault(name, {})[sha] = files
        self.branches.setdefault(name, {})[branch] = sha
        return sha


class Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, content: bytes | dict | list = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and its files; None after an error was answered."""
        if name not in self.server.commits:
            self.answer(404, X_Error_Code="RepoNotFound")
            return None
        sha = self.server.branches[name].get(unquote(revision), revision)
        if sha not in self.server.commits[name]:
            self.answer(404, X_Error_Code="RevisionNotFound")
            return None
        return sha, self.server.commits[name][sha]

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/(\w+/\w+)/revision/(.+)", path):
            if found := self.find(match[1], match[2]):
                self.answer(200, {"id": match[1], "sha": found[0], "tags": [], "siblings": []})
        elif match := re.fullmatch(r"/api/models/(\w+/\w+)/tree/(.+)", path):
            if found := self.find(match[1], match[2]):
                self.answer(
                    200,
                    [
                        {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for file, data in found[1].items()
                    ],
                )
        elif match := re.fullmatch(r"/(\w+/\w+)/resolve/([^/]+)/(.+)", path):
            if found := self.find(match[1], match[2]):
                if match[3] not in found[1]:
                    self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=found[0])
                    return
                data = found[1][match[3]]
                self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=found[0])
        else:
            self.answer(404)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
        self.server.large[self.path.rpartition("/")[2]] = data
        self.answer(200)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.commits:
                self.answer(409, {"error": "You already created this", "url": f"{self.server.address}/{name}"})
                return
            self.server.private[name] = asked.get("visibility") == "private" or asked.get("private") is True
            self.server.commit(name, {".gitattributes": b"*.safetensors filter=lfs\n"})
            self.answer(200, {"url": f"{self.server.address}/{name}"})
        elif re.fullmatch(r"/api/models/(\w+/\w+)/preupload/main", path):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(data)["files"]
            ]
            self.answer(200, {"files": modes})
        elif re.fullmatch(r"/(\w+/\w+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.server.address}/lfs/{each['oid']}"}}}
                for each in json.loads(data)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/(\w+/\w+)/commit/main", path):
            files = dict(self.server.commits[match[1]][self.server.branches[match[1]]["main"]])
            for line in data.splitlines():
                operation = json.loads(line)
                value = operation["value"]
                if operation["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif operation["key"] == "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
            sha = self.server.commit(match[1], files)
            self.answer(200, {"commitUrl": f"{self.server.address}/{match[1]}/commit/{sha}", "commitOid": sha})
        else:
            self.answer(404)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub of our own, an empty cache, and nobody logged in."""
    stand_in = StandIn()
    thread = threading.Thread(target=stand_in.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", stand_in.address + "/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.chdir(tmp_path)
    yield stand_in
    stand_in.shutdown()
    stand_in.server_close()
    thread.join()


@pytest.fixture
def files(weights: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in weights.iterdir()} | {"README.md": b"# A card\n"}


def same(one: Restorer, other: Restorer) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return one.config == other.config and a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names() -> None:
    for name in ("owner/name", "some-one/model-v1.5", "a/b@v1.0", "a/b@refs/pr/1"):
        assert hub.is_repository(name), name
    for name in ("name", "/a/b", "a/b/c", "./a", "../a", "~/a", "a/b@", "a/model.safetensors", "a\\b", "a/b c", "é/b"):
        assert not hub.is_repository(name), name


def test_weights_of_a_repository(server: StandIn, files: dict[str, bytes], weights: Path) -> None:
    server.commit("owner/name", {**files, "pytorch_model.bin": b"pickled", "code.py": b"print()"})
    pipe = LightenPipeline.from_pretrained("owner/name", device="cpu")
    assert same(pipe.restorer, load(weights))
    fetched = {line.rpartition("/")[2] for line in server.asked if "/resolve/" in line}
    assert fetched == {"config.json", "model.safetensors"}


def test_revisions_and_changes(server: StandIn, files: dict[str, bytes]) -> None:
    first = server.commit("owner/name", files)
    config = json.loads(files["config.json"])
    second = {**files, "config.json": json.dumps({**config, "num_inference_steps": 7}).encode()}
    server.commit("owner/name", second, branch="next")
    steps = {name: load(name).config.num_inference_steps for name in ("owner/name", "owner/name@next")}
    assert steps == {"owner/name": 2, "owner/name@next": 7}
    server.commit("owner/name", second)  # the branch moves on, and is followed
    assert load("owner/name").config.num_inference_steps == 7
    assert load(f"owner/name@{first}").config.num_inference_steps == 2


def test_a_path_wins(server: StandIn, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "owner/name").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"owner/name: no config\.json in it"):
        load("owner/name")
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "owner/name" / name).write_bytes(files[name])
    assert load("owner/name").config == PRESETS["tiny"].for_restoring
    with pytest.raises(FileNotFoundError, match="owner/other: no such file or folder"):
        load(Path("owner/other"))  # a Path means a path
    assert server.asked == []


def test_what_isn_t_there(server: StandIn, files: dict[str, bytes]) -> None:
    server.commit("owner/name", files)
    expected = (
        f"owner/nmae: neither a file or folder here nor a public repository on {server.address}; for a private one"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        LightenPipeline.from_pretrained("owner/nmae")
    with pytest.raises(FileNotFoundError, match=r"owner/name@v9: no such revision of this repository"):
        LightenPipeline.from_pretrained("owner/name@v9")


def test_pickles_are_never_fetched(server: StandIn, files: dict[str, bytes]) -> None:
    server.commit("owner/pickled", {"config.json": files["config.json"], "stage2_weight.pth.tar": b"pickled"})
    with pytest.raises(CheckpointError, match=r"owner/pickled: no model\.safetensors in this repository"):
        load("owner/pickled")
    assert not any("stage2_weight" in line for line in server.asked)


def test_damaged_weights(server: StandIn, files: dict[str, bytes]) -> None:
    server.commit("owner/name", {**files, "model.safetensors": files["model.safetensors"][:5000]})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load("owner/name")


def test_offline(server: StandIn, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit("owner/name", files)
    load("owner/name")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(server.asked)
    assert load("owner/name").config == PRESETS["tiny"].for_restoring  # from the cache
    expected = r"owner/other: HF_HUB_OFFLINE is set, and no copy is in the cache: go online once, or give a folder with"
    with pytest.raises(ConnectionError, match=expected):
        load("owner/other")
    assert len(server.asked) == asked


def test_no_connection(server: StandIn, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit("owner/name", files)
    load("owner/name")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its attempts
    assert load("owner/name").config == PRESETS["tiny"].for_restoring
    expected = r"owner/other: http://127\.0\.0\.1:1 can't be reached, and no copy is in the cache: go online once, or"
    with pytest.raises(ConnectionError, match=expected):
        load("owner/other")
    with pytest.raises(ConnectionError, match=r"owner/name: http://127\.0\.0\.1:1 can't be reached; save_pretrained"):
        hub.upload(load("owner/name"), "owner/name")


def test_uploads(server: StandIn, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = LightenPipeline.from_pretrained(weights, device="cpu")
    with pytest.raises(
        PermissionError, match=r"owner/new: http://127.*\(401\): log in \(hf auth login\) or set HF_TOKEN"
    ):
        pipe.push_to_hub("owner/new")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    address = pipe.push_to_hub("owner/new", private=True)
    assert address.startswith(f"{server.address}/owner/new/commit/")
    assert server.private == {"owner/new": True}
    stored = server.commits["owner/new"][server.branches["owner/new"]["main"]]
    assert set(stored) == {".gitattributes", "config.json", "model.safetensors", "README.md"}
    card = stored["README.md"].decode()
    parameters = sum(p.numel() for p in pipe.restorer.parameters()) / 1e6
    assert card.startswith("---\nlibrary_name: lightendiff\n")
    assert f"`lean`, {parameters:.2f} M parameters" in card
    assert 'LightenPipeline.from_pretrained("owner/new")' in card
    assert same(load("owner/new"), pipe.restorer)


def test_uploads_again(server: StandIn, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    pipe = LightenPipeline.from_pretrained(weights, device="cpu")
    pipe.push_to_hub("owner/name", card="# Mine\n")
    with torch.no_grad():
        pipe.restorer.unet.conv_out.bias.add_(0.125)
    pipe.push_to_hub("owner/name", half=True)
    stored = server.commits["owner/name"][server.branches["owner/name"]["main"]]
    assert stored["README.md"] == b"# Mine\n"  # somebody's card isn't replaced by the short one
    assert len(stored["model.safetensors"]) < 0.7 * (weights / "model.safetensors").stat().st_size
    bias = load("owner/name").unet.conv_out.bias
    assert torch.equal(bias, pipe.restorer.unet.conv_out.bias.half().float())


def test_names_that_can_t_be_uploaded_to(weights: Path) -> None:
    pipe = LightenPipeline.from_pretrained(weights, device="cpu")
    with pytest.raises(ValueError, match="name: expected owner/name or owner/name@revision, got 'name'"):
        pipe.push_to_hub("name")
    with pytest.raises(ValueError, match="name: expected owner/name without a revision, got 'a/b@main'"):
        pipe.push_to_hub("a/b@main")


def test_without_the_package(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    expected = r"owner/name: no such file or folder; to load .* is needed: pip install 'lightendiff\[hub\]'"
    with pytest.raises(ImportError, match=expected):
        LightenPipeline.from_pretrained("owner/name")
    pipe = LightenPipeline.from_pretrained(weights, device="cpu")
    with pytest.raises(ImportError, match=r"owner/name: to upload, .*pip install 'lightendiff\[hub\]'"):
        pipe.push_to_hub("owner/name")
