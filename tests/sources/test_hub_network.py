"""Data sets of a hub: pinned, read by ranges, taken from the cache without a network, every lack with its remedy.

The hub is a server on loopback that speaks as much of the protocol as the real client asks for.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loopback import Silent, serving

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
N_ROWS = 40
NOISE = np.random.default_rng(0).bytes(200_000)  # a picture's size; eight rows of it are 1.6 MB


def captions(number: int) -> bytes:
    """A shard of 20 captions beside 4 MB of pictures."""
    rows = [f"a photograph of {20 * number + index} lighthouses at dusk" for index in range(20)]
    table = pa.table({"image": pa.array([{"bytes": NOISE, "path": None}] * 20), "caption": rows})
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=10, compression="NONE", use_dictionary=False)
    return stream.getvalue()


CARD = (
    b"---\nlicense: cc-by-4.0\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
    b"    path: data/train-*\ndataset_info:\n  features:\n  - name: caption\n    dtype: string\n"
    b"  splits:\n  - name: train\n    num_bytes: 1\n    num_examples: 40\n---\n"
)
REPOSITORIES: dict[str, dict[str, bytes]] = {
    "owner/good": {"README.md": CARD} | {f"data/train-0000{n}-of-00002.parquet": captions(n) for n in range(2)},
    "owner/lines": {"README.md": b"# no YAML\n", "train.jsonl": b'{"text": "a cat"}\n{"text": 3}\n'},
    "owner/script": {"script.py": b"raise SystemExit('ran')", "a.csv": b"text\na cat\n"},
    "owner/gated": {"README.md": CARD, "train.txt": b"a cat\n"},
}


class Hub(Silent, BaseHTTPRequestHandler):
    """`sent` counts the bytes of files that left the server; `fails` makes it drop ranges of files."""

    sent = 0
    fails = False

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts = self._path().split("/")
        if parts[4] != "paths-info":
            return self.answer(404, {}, b"{}")
        try:
            paths = json.loads(asked)["paths"]
        except ValueError:
            paths = urllib.parse.parse_qs(asked)["paths"]
        files = REPOSITORIES[f"{parts[2]}/{parts[3]}"]
        found = [self._entry(name, files[name]) for name in paths if name in files]
        return self.answer(200, {}, json.dumps(found).encode())

    def do_GET(self) -> None:
        parts = self._path().split("/")
        if parts[:2] == ["api", "datasets"]:
            self._info(f"{parts[2]}/{parts[3]}", parts[5], "/".join(parts[6:]) if parts[4] == "tree" else None)
        elif parts[0] == "datasets" and parts[3] == "resolve":
            self._file(f"{parts[1]}/{parts[2]}", parts[4], "/".join(parts[5:]))
        else:
            self.answer(404, {}, b"")

    def _path(self) -> str:
        return urllib.parse.unquote(self.path.partition("?")[0]).strip("/")

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _info(self, repository: str, revision: str, folder: str | None) -> None:
        if repository not in REPOSITORIES:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
        if revision != REVISION:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        files = REPOSITORIES[repository]
        body: Any = {"id": repository, "sha": REVISION, "siblings": [{"rfilename": name} for name in sorted(files)]}
        if folder is not None:
            inside = sorted(name for name in files if not folder or name.startswith(f"{folder}/"))
            body = [self._entry(name, files[name]) for name in inside]
            above = sorted({name.rpartition("/")[0] for name in inside} - {"", folder})
            body += [{"type": "directory", "path": name, "oid": "0"} for name in above]
            if folder and not inside:
                return self.answer(404, {"X-Error-Code": "EntryNotFound"}, b"{}")
        return self.answer(200, {}, json.dumps(body).encode())

    def _file(self, repository: str, revision: str, name: str) -> None:
        if repository == "owner/gated":
            return self.answer(401, {"X-Error-Code": "GatedRepo"}, b"")
        files = REPOSITORIES[repository]
        if name not in files or revision != REVISION:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"}, b"")
        data = files[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        code = 200
        if asked := self.headers.get("Range"):
            if Hub.fails:
                return self.answer(403, {}, b"")
            first, _, last = asked.removeprefix("bytes=").partition("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, code = data[int(first) : int(last or len(data)) + 1], 206
        if self.command == "GET":
            Hub.sent += len(data)
        return self.answer(code, headers, data)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(Hub) as address:
        yield address


CODE = """
import json, sys
from promptforge.errors import PromptforgeError
from promptforge.sources import hub
for asked in json.loads(sys.argv[1]):
    start, stop = asked.pop("rows", (0, 10**9))
    try:
        made = hub.build(hub.Params(**asked), 0)
        parts = made.parts()
        rows = [c for part in parts for c in made.read(part, start, stop)]
        said = [c.text or c.fault for c in rows]
        print(json.dumps([made.licence, [(p.label, p.digest, p.n_rows) for p in parts], said]))
    except PromptforgeError as exc:
        print(json.dumps(f"{type(exc).__name__}: {exc}"))
if len(sys.argv) > 2:
    stream = made.read(parts[0], 0, 20)
    next(stream)  # left open at exit
"""


def asked(endpoint: str, home: Path, *sources: dict[str, Any], left_early: bool = False, **more: str) -> list[Any]:
    """What the source gives for each, in a process of its own: licence, parts and rows, or the message."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    whole = [{"revision": REVISION, **source} for source in sources]
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(whole), *(["left"] if left_early else [])],
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


GOOD = {"dataset": "owner/good"}
ALL = [f"a photograph of {number} lighthouses at dusk" for number in range(N_ROWS)]


def test_rows_carry_repository_revision_file_and_licence_and_pictures_stay_where_they_are(
    server: str, tmp_path: Path
) -> None:
    Hub.sent = 0
    whole, cut, first = asked(
        server, tmp_path, GOOD, GOOD | {"rows": (5, 15)}, GOOD | {"limit": 7, "licence": "mine"}, left_early=True
    )
    licence, parts, texts = whole
    assert (licence, texts) == ("cc-by-4.0", ALL)
    assert [(label, n_rows) for label, _, n_rows in parts] == [
        (f"owner/good@{REVISION}/data/train-0000{number}-of-00002.parquet", 20) for number in range(2)
    ]
    assert cut[2] == ALL[5:15] + ALL[25:35]
    assert (first[0], first[2], len(first[1])) == ("mine", ALL[:7], 1)
    # Both files hold 4 MB of pictures each; five sources read 40 + 20 + 7 + 1 short captions out of them.
    assert Hub.sent < 1_500_000


def test_what_was_fetched_needs_no_network_and_gives_the_same_parts(server: str, tmp_path: Path) -> None:
    fetch = (
        "from huggingface_hub import snapshot_download as s; import sys;"
        "[s(sys.argv[1], repo_type='dataset', revision=sys.argv[2], allow_patterns=sys.argv[3:])]"
    )
    environment = {**os.environ, "HF_ENDPOINT": server, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def fetched(*patterns: str) -> None:
        subprocess.run([sys.executable, "-c", fetch, "owner/good", REVISION, *patterns], env=environment, check=True)

    (never,) = asked("http://127.0.0.1:9", tmp_path, GOOD, HF_HUB_OFFLINE="1")
    for part in (
        "EnvironmentFault: owner/good at 0123456789ab: not on this machine and the hub cannot be reached",
        f"hf download owner/good --repo-type dataset --revision {REVISION}",
        "HF_TOKEN",
    ):
        assert part in never
    fetched("README.md", "data/train-00000*")
    (half,) = asked("http://127.0.0.1:9", tmp_path, GOOD, HF_HUB_OFFLINE="1")
    assert "only a part of it is on this machine" in half
    for listing in tmp_path.rglob("trees/*.json"):  # as a cache of an older client has none
        listing.unlink()
    (half,) = asked("http://127.0.0.1:9", tmp_path, GOOD, HF_HUB_OFFLINE="1")
    assert "some files of data/train.parquet are missing here" in half
    fetched("*")
    (online,) = asked(server, tmp_path, GOOD)
    (offline,) = asked("http://127.0.0.1:9", tmp_path, GOOD, HF_HUB_OFFLINE="1")
    (unreachable,) = asked("http://127.0.0.1:9", tmp_path, GOOD)  # a machine whose network is down
    assert online == offline == unreachable
    assert online[2] == ALL


def test_lines_are_fetched_and_their_bad_rows_are_faults(server: str, tmp_path: Path) -> None:
    ((licence, _, texts),) = asked(server, tmp_path, {"dataset": "owner/lines"})
    assert (licence, texts) == ("unstated", ["a cat", "not_a_string"])


def test_what_the_hub_refuses_is_said_with_the_remedy(server: str, tmp_path: Path) -> None:
    none, revision, gated, script, split = asked(
        server,
        tmp_path,
        {"dataset": "owner/none"},
        {"dataset": "owner/good", "revision": OTHER},
        {"dataset": "owner/gated"},
        {"dataset": "owner/script"},
        {"dataset": "owner/good", "split": "test"},
    )
    assert "EnvironmentFault: owner/none at 0123456789ab: the hub has no such data set" in none
    assert "HF_TOKEN" in none
    assert "no such revision; `hf datasets info owner/good`" in revision
    assert "gated; accept its terms" in gated
    assert "HF_TOKEN" in gated
    assert "ConfigError: owner/script at 0123456789ab: is a loading script" in script
    assert "no split 'test'; it has 'train'" in split


def test_a_hub_that_stops_answering_is_told_as_such(server: str, tmp_path: Path) -> None:
    Hub.fails = True
    try:
        (said,) = asked(server, tmp_path, GOOD)
    finally:
        Hub.fails = False
    assert "EnvironmentFault: owner/good at 0123456789ab: the hub answers HfHubHTTPError" in said
