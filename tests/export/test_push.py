"""push against a hub on loopback that keeps repositories as the real client sends them: by LFS and commits."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from promptforge.commands.export import run_export
from promptforge.errors import ConfigError, StoreFault
from promptforge.export.hub.push import pack
from tests.loopback import Silent, serving
from tests.stages.publishing.conftest import contents

TOKEN = "hf_" + "x" * 34


class Hub(Silent, BaseHTTPRequestHandler):
    """Repositories in memory; files of 1,000 bytes and more go by LFS, as on the hub (there from 10 MB, or Parquet)."""

    repositories: dict[str, dict[str, bytes]]
    objects: dict[str, bytes]
    log: list[str]

    def do_GET(self) -> None:
        name = self._repository()
        if name not in self.repositories:
            return self._answer(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
        files = [{"rfilename": file} for file in sorted(self.repositories[name])]
        tree = [{"type": "file", "path": item["rfilename"], "size": 1, "oid": "0" * 40} for item in files]
        if "/tree/" in self.path:
            return self._answer(200, tree)
        return self._answer(200, {"id": name, "sha": "a" * 40, "siblings": files})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "no token"})
        if self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization']}/{told['name']}" if told.get("organization") else told["name"]
            self.log.append(f"create {name} {told['visibility']}")
            if name in self.repositories:
                return self._answer(409, {"error": "there already", "url": f"{self._own()}/datasets/{name}"})
            self.repositories[name] = {".gitattributes": b"kept"}
            return self._answer(200, {"url": f"{self._own()}/datasets/{name}"})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = ["lfs" if item["size"] >= 1000 else "regular" for item in asked]
            told = [{**f, "uploadMode": mode, "shouldIgnore": False} for f, mode in zip(asked, modes, strict=True)]
            return self._answer(200, {"files": told})
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if self.path.endswith("/info/lfs/objects/batch"):
            found = [self._place(item) for item in json.loads(body)["objects"]]
            return self._answer(200, {"transfer": "basic", "objects": found})
        if "/commit/" in self.path:
            return self._commit([json.loads(line) for line in body.decode().splitlines()])
        return self._answer(404, {"error": self.path})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[hashlib.sha256(data).hexdigest()] = data
        self.log.append("object")
        self._answer(200, {})

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["oid"] in self.objects:
            return item
        return {**item, "actions": {"upload": {"href": f"{self._own()}/put/{item['oid']}", "header": {}}}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        files = self.repositories[self._repository()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.log.append(f"commit {len(lines) - 1}")
        address = f"{self._own()}/datasets/{self._repository()}/commit/{'b' * 40}"
        self._answer(200, {"commitUrl": address, "commitOid": "b" * 40, "hookOutput": ""})

    def _repository(self) -> str:
        parts = self.path.partition("?")[0].strip("/").split("/")
        return "/".join(parts[2:4])

    def _own(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _answer(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
        told = {"Content-Type": "application/json", **(headers or {})}
        self.answer(code, told, json.dumps(body).encode())


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.repositories, Hub.objects, Hub.log = {}, {}, []
    with serving(Hub) as address:
        yield address


def _push(hub: str, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads the hub's address once, when it is imported."""
    environment = {
        "HF_ENDPOINT": hub,
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-m", "promptforge.cli", "push", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_data_set_goes_up_in_one_commit_and_takes_the_place_of_what_was_there(hub: str, dataset: Path) -> None:
    Hub.repositories["owner/set"] = {
        ".gitattributes": b"kept",
        "data/train-00000-of-00009.parquet": b"of an old version",
    }
    done = _push(hub, "owner/set", "--folder", str(dataset))
    assert done.returncode == 0, done.stderr
    assert "removed there: data/train-00000-of-00009.parquet" in done.stdout
    assert "license: cc0-1.0" in done.stdout
    assert Hub.repositories["owner/set"] == {**contents(dataset), ".gitattributes": b"kept"}
    assert sum(line.startswith("commit") for line in Hub.log) == 1
    assert Hub.log[-1].startswith("commit")  # objects before it
    objects = Hub.log.count("object")
    assert _push(hub, "owner/set", "--folder", str(dataset)).returncode == 0
    assert Hub.log.count("object") == objects  # nothing is sent twice


def test_a_new_repository_is_private_unless_told_otherwise(hub: str, dataset: Path) -> None:
    assert "a new repository" in _push(hub, "owner/one", "--folder", str(dataset)).stdout
    assert _push(hub, "owner/two", "--folder", str(dataset), "--public").returncode == 0
    assert [line for line in Hub.log if line.startswith("create")] == [
        "create owner/one private",
        "create owner/two public",
    ]


def test_a_dry_run_sends_nothing(hub: str, dataset: Path) -> None:
    done = _push(hub, "owner/set", "--folder", str(dataset), "--dry-run")
    assert done.returncode == 0
    assert "nothing was sent" in done.stdout
    assert (Hub.repositories, Hub.log) == ({}, [])


def test_without_a_right_the_token_is_named(hub: str, dataset: Path) -> None:
    done = _push(hub, "owner/set", "--folder", str(dataset), token="hf_" + "y" * 34)
    assert done.returncode == 2
    assert "owner/set: the hub refuses (401); set HF_TOKEN to a token" in done.stderr


def test_an_export_can_be_pushed(hub: str, dataset: Path, tmp_path: Path) -> None:
    run_export("webdataset", dataset, None, tmp_path / "out", [])
    assert _push(hub, "owner/tars", "--folder", str(tmp_path / "out")).returncode == 0
    assert Hub.repositories["owner/tars"] == {**contents(tmp_path / "out"), ".gitattributes": b"kept"}


def test_what_was_changed_or_added_is_not_pushed(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    (copy / "README.md").write_text("other")
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(StoreFault) as caught:
        pack(copy)
    assert [line.rpartition(": ")[2] for line in str(caught.value).splitlines()] == [
        "not named by manifest.json",
        "sha256 is not what manifest.json says",
        "make it anew before it is pushed",
    ]
    with pytest.raises(ConfigError, match="neither a published data set"):
        pack(tmp_path)
