"""Where a model's files are: local folders as they are, hub ids pinned, every lack with what to do about it.

The hub is a server on loopback that speaks as much of the protocol as the real client asks for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from tests.loopback import Silent, serving

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
FILES = {
    "model.safetensors": b"weights",
    "config.json": b"{}",
    "model.fp16.safetensors": b"the same weights once more",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"raise SystemExit",
}
HALF = {
    "a.safetensors": b"first",
    "m.safetensors.index.json": b'{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}',
}


class Hub(Silent, BaseHTTPRequestHandler):
    """owner/good has files; owner/gated refuses them; owner/half has an index of which one shard is not there."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._info(f"{parts[2]}/{parts[3]}", parts[5], "tree" in parts)
        elif "resolve" in parts:
            self._file(f"{parts[0]}/{parts[1]}", parts[-1])
        else:
            self.answer(404, {}, b"")

    def _info(self, repository: str, revision: str, is_tree: bool) -> None:
        if repository == "owner/none":
            return self.answer(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
        if revision != REVISION:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        names = sorted(HALF if repository == "owner/half" else FILES)
        body: Any = {"id": repository, "sha": REVISION, "siblings": [{"rfilename": name} for name in names]}
        if is_tree:
            data = [(HALF | FILES)[name] for name in names]
            body = [
                {"type": "file", "path": name, "size": len(each), "oid": hashlib.sha1(each).hexdigest()}
                for name, each in zip(names, data, strict=True)
            ]
        return self.answer(200, {}, json.dumps(body).encode())

    def _file(self, repository: str, name: str) -> None:
        if repository == "owner/gated":
            return self.answer(401, {"X-Error-Code": "GatedRepo"}, b"")
        data = (HALF | FILES)[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": REVISION}
        return self.answer(200, headers, data)


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with serving(Hub) as address:
        yield address


CODE = """
import json, sys
from promptforge.errors import PromptforgeError
from promptforge.models import weights
for source, revision in json.loads(sys.argv[1]):
    try:
        folder = weights.locate(source, revision, gib=3, licence="its terms")
        print(json.dumps(sorted(path.name for path in folder.iterdir())))
    except PromptforgeError as exc:
        print(json.dumps(str(exc)))
"""


def located(endpoint: str, home: Path, *asked: tuple[str, str], **more: str) -> list[Any]:
    """What `locate` gives for each, in a process of its own: names of files, or the message."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(asked)],
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_only_files_that_hold_no_code_are_fetched_and_then_no_network_is_needed(hub: str, tmp_path: Path) -> None:
    wanted = ["config.json", "model.safetensors"]
    assert located(hub, tmp_path, ("owner/good", REVISION)) == [wanted]
    assert located("http://127.0.0.1:9", tmp_path, ("owner/good", REVISION), HF_HUB_OFFLINE="1") == [wanted]


def test_what_the_hub_refuses_is_said_with_the_remedy(hub: str, tmp_path: Path) -> None:
    asked = [("owner/gated", REVISION), ("owner/none", REVISION), ("owner/good", OTHER), ("owner/half", REVISION)]
    gated, none, revision, half = located(hub, tmp_path, *asked)
    for part in ("owner/gated", "its terms", "HF_TOKEN", "3 GiB of disk"):
        assert part in gated
    assert "no such repository" in none
    assert "no such revision; `hf models info owner/good`" in revision
    assert "1 of its files are missing here, the first b.safetensors; fetch the rest" in half


def test_offline_and_never_fetched_says_how_to_fetch_it(tmp_path: Path) -> None:
    (said,) = located("http://127.0.0.1:9", tmp_path, ("owner/good", REVISION), HF_HUB_OFFLINE="1")
    assert f"hf download owner/good --revision {REVISION} --include '*.safetensors'" in said
    assert "--exclude '*.fp16*'" in said
    assert "3 GiB of disk" in said


def cached(home: Path, commit: str, *names: str) -> None:
    folder = home / "models--owner--good" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"{}")


def test_what_is_here_is_told_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert weights.missing_here("owner/good", REVISION) == ["everything"]
    assert weights.revisions_here("owner/good") == []
    cached(tmp_path, REVISION, "model.safetensors", "config.json")
    cached(tmp_path, "a" * 40, "config.json")
    (tmp_path / "models--owner--good" / "refs").mkdir()
    (tmp_path / "models--owner--good" / "refs" / "main").write_text(REVISION)
    assert weights.is_here("owner/good", REVISION)
    assert weights.missing_here("owner/good", "a" * 40) == ["*.safetensors"]
    assert not weights.is_here("owner/good", "b" * 40)
    assert weights.revisions_here("owner/good") == [REVISION, "a" * 40]  # what main is comes first


def pipeline(folder: Path) -> Path:
    """The layout of a pipeline: a sharded part, a whole one, a tokenizer, a checker that is not used."""
    parts = {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
    }
    for name in ("transformer", "vae", "tokenizer"):
        (folder / name).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(parts))
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).write_text("{}")
    for name in ("transformer", "vae"):
        (folder / name / "config.json").write_text("{}")
    shards = {"a": "part-1.safetensors", "b": "part-2.safetensors"}
    (folder / "transformer" / "w.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    for name in ("transformer/part-1", "transformer/part-2", "vae/model"):
        (folder / f"{name}.safetensors").write_bytes(b"w")
    return folder


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        (None, []),
        ("transformer/part-2.safetensors", ["transformer/part-2.safetensors"]),
        ("vae/model.safetensors", ["vae/*.safetensors"]),
        ("vae/config.json", ["vae/config.json"]),
        ("tokenizer/merges.txt", ["tokenizer/tokenizer.json"]),
    ],
)
def test_a_half_fetched_pipeline_is_not_here(lost: str | None, missing: list[str], tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "pipe")
    if lost:
        (folder / lost).unlink()
    (folder / "vae" / "model.fp16.safetensors").write_bytes(b"w")  # no pipeline here reads it
    assert weights.missing_here(str(folder), None) == missing
    assert weights.is_here(str(folder), None) == (not missing)


def test_a_local_path_is_named_by_its_bytes_and_not_by_where_it_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "pytorch_model.bin").write_bytes(name.encode())  # never read, so no part of the name
    one, two = (weights.identity(str(tmp_path / name), None) for name in ("one", "two"))
    file = hashlib.sha256(b"weights").hexdigest()
    assert one == two == {"sha256": hashlib.sha256(f"model.safetensors\0{file}\n".encode()).hexdigest()}
    (tmp_path / "two" / "model.safetensors").write_bytes(b"changed")
    assert weights.identity(str(tmp_path / "two"), None) != one


def test_copies_in_another_type_are_no_part_of_the_name_unless_one_is_given_itself(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = weights.identity(str(tmp_path), None)
    (tmp_path / "model.fp16.safetensors").write_bytes(b"weights")
    assert weights.identity(str(tmp_path), None) == before
    file = hashlib.sha256(b"weights").hexdigest()
    one = hashlib.sha256(f"model.fp16.safetensors\0{file}\n".encode()).hexdigest()
    assert weights.identity(str(tmp_path / "model.fp16.safetensors"), None) == {"sha256": one}


def test_a_part_of_a_pipeline_that_is_gone_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "pipe")
    shutil.rmtree(folder / "tokenizer")
    assert weights.missing_here(str(folder), None) == ["tokenizer/"]


def test_a_hub_id_is_named_by_its_revision() -> None:
    assert weights.identity("owner/good", REVISION) == {"repository": "owner/good", "revision": REVISION}


@pytest.mark.parametrize(
    ("source", "revision", "said"),
    [
        ("owner/good", None, "expected the 40 hex digits"),
        ("owner/good", "main", "`hf models info owner/good` shows it as sha"),
        ("owner/good", REVISION[:12], "expected the 40 hex digits"),
        ("owner/good", REVISION.upper(), "expected the 40 hex digits"),
        ("good", REVISION, "neither a path nor a hub id"),
        ("owner/good/more", REVISION, "neither a path nor a hub id"),
        ("https://example.org/good", REVISION, "neither a path nor a hub id"),
        ("/some/folder", REVISION, "has no revision"),
    ],
)
def test_a_model_without_a_lasting_name_is_refused(source: str, revision: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        weights.check(source, revision)


def test_a_path_takes_an_empty_revision_as_the_command_line_can_set_it() -> None:
    weights.check("/some/folder", None)
    weights.check("/some/folder", "")


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    for call in (weights.locate, weights.identity):
        with pytest.raises(EnvironmentFault, match="gone: no such model file or folder"):
            call(gone, None)
    assert weights.missing_here(gone, None) == [gone]


def test_pickles_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match=r"only pytorch_model.bin, which can run code"):
        weights.require_safe(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert weights.require_safe(tmp_path) == tmp_path


def test_with_the_hub_switched_off_a_run_misses_its_weights_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptforge import recipe
    from promptforge.stages import parts

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = parts.resolve(recipe.validate(recipe.read("flux-schnell"), "test"), "test")
    with pytest.raises(
        EnvironmentFault, match=r"regime\.model: .*FLUX.1-schnell at 741f7c3ce8b3 is not on this machine"
    ):
        parts.check_places({"regime": found.teacher})
