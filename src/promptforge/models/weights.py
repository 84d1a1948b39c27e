"""Where a model's files are and what they are: a folder or file of one's own, or a hub repository at a pinned revision.

Only files that hold no code are ever taken: safetensors, JSON, TOML, text and tokenizer models. A hub id needs a
40-digit revision, so that it names the same bytes for ever; then `identity` needs no look at them. A local path is
named by the SHA-256 of its files, never by where it lies.

An interrupted download is told by the files that the folder's own indexes name and that are not there; the next try
with a network goes on where it stopped. Not covered: a file that is there and damaged.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from promptforge.errors import ConfigError, EnvironmentFault

#: What a model may consist of. Pickles (.bin, .pt, .ckpt) and Python files are not among them.
SAFE_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "*.toml")
_HUB_ID = re.compile(r"\A[\w.-]+/[\w.-]+\Z")
_REVISION = re.compile(r"\A[0-9a-f]{40}\Z")
TOKEN_VARIABLE = "HF_TOKEN"


def is_local(source: str) -> bool:
    """Whether `source` is a path: it begins with / . ~ or exists; anything else is a hub id."""
    return source.startswith(("/", ".", "~")) or Path(source).exists()


def check(source: str, revision: str | None) -> None:
    """Raise ConfigError unless `source` is a path without a revision, or a hub id with a full commit hash as one."""
    if is_local(source):
        if revision:  # '' is what a command line can set to take a recipe's revision away
            raise ConfigError(f"{source} is a path, which has no revision; leave revision out, or set it to ''")
        return
    if not _HUB_ID.match(source):
        raise ConfigError(f"{source!r} is neither a path nor a hub id such as owner/name")
    if revision is None or not _REVISION.match(revision):
        raise ConfigError(
            f"{source}: revision is {revision!r}; expected the 40 hex digits of a commit, so that it always names the"
            f" same files; `hf models info {source}` shows it as sha, the model page under Files, History"
        )


def locate(
    source: str, revision: str | None, *, needs: Sequence[str] = SAFE_FILES, gib: float | None = None, licence: str = ""
) -> Path:
    """The folder (or the one local file) with the model's files; fetched from the hub where they are not here yet.

    `needs`: glob patterns of the files that are wanted. `gib`: their size, for the message. HF_HUB_OFFLINE=1 keeps it
    off the network. Raises EnvironmentFault naming the model, the licence to accept, the token to set, the disk needed.
    """
    check(source, revision)
    if is_local(source):
        path = Path(source).expanduser()
        if not path.exists():
            raise EnvironmentFault(f"{path}: no such model file or folder; give the path of one, or a hub id")
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    size = f", {gib:g} GiB of disk" if gib else ""
    what = f"{source} at {str(revision)[:12]}"
    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(needs)))
    except GatedRepoError as exc:
        raise EnvironmentFault(
            f"{what}: gated; accept its licence{f' ({licence})' if licence else ''} on its page with your account, and"
            f" set {TOKEN_VARIABLE} to a token of that account{size}"
        ) from exc
    except RepositoryNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: the hub has no such repository, or hides it; check the id, and set {TOKEN_VARIABLE} where it is"
            " private"
        ) from exc
    except RevisionNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: the repository has no such revision; `hf models info {source}` shows the newest as sha"
        ) from exc
    except LocalEntryNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: not on this machine and the hub cannot be reached (HF_HUB_OFFLINE="
            f"{os.environ.get('HF_HUB_OFFLINE', '0')}); fetch it where there is a network with:"
            f" {command(source, revision, needs)}{size}; or give a local path"
        ) from exc
    except (HfHubHTTPError, OSError) as exc:
        remedy = "try again"
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            remedy = f"the disk is full; make room{size}, or set HF_HOME to a larger one"
        raise EnvironmentFault(f"{what}: could not be fetched ({type(exc).__name__}: {exc}); {remedy}") from exc
    if absent := sorted(_absent(folder)):  # without a network the hub's library gives a half-fetched folder as it is
        raise EnvironmentFault(
            f"{what}: {len(absent)} of its files are missing here, the first {absent[0]}; fetch the rest where there is"
            f" a network with: {command(source, revision, needs)}"
        )
    return folder


def command(source: str, revision: str | None, needs: Sequence[str] = SAFE_FILES) -> str:
    """What a person types to fetch the files; none of the repository's others."""
    chosen = " ".join(f"--include '{pattern}'" for pattern in needs)
    return f"hf download {source} --revision {revision} {chosen}"


def is_here(source: str, revision: str | None, needs: Sequence[str] = ("*.json",)) -> bool:
    """Whether all of the files are on this machine already, without asking the network."""
    return not missing_here(source, revision, needs)


def missing_here(source: str, revision: str | None, needs: Sequence[str] = ("*.json",)) -> list[str]:
    """What of the files is not on this machine, sorted; asks no network. `needs` as for `locate`."""
    if is_local(source):
        path = Path(source).expanduser()
        if path.is_dir():
            return sorted(_absent(path))
        return [] if path.exists() else [str(path)]
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(needs), local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return ["everything"]
    return sorted(_absent(folder))


def revisions_here(source: str) -> list[str]:
    """Commits of a hub id that are on this machine, the one that `main` meant at the last look first."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model")
    found = sorted(path.name for path in folder.glob("snapshots/*") if _REVISION.match(path.name))
    try:
        main = (folder / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        main = ""
    return sorted(found, key=lambda commit: commit != main)


def _absent(folder: Path) -> Iterator[str]:
    """Files that the folder's indexes name and that are not there; or that it has no weights at all."""
    if not any(path.exists() for path in folder.rglob("*.safetensors")):
        yield "*.safetensors"
    for index in folder.rglob("*.safetensors.index.json"):
        named = _json(index).get("weight_map")
        for name in set(named.values()) if isinstance(named, dict) else ():
            if not (index.parent / str(name)).exists():
                yield (index.parent / str(name)).relative_to(folder).as_posix()
    for name, what in _json(folder / "model_index.json").items():
        if not isinstance(what, list) or name.startswith("_") or None in what:
            continue
        part = folder / name
        if not part.is_dir():
            yield f"{name}/"
        elif (part / "config.json").exists() and not any(path.exists() for path in part.glob("*.safetensors")):
            yield f"{name}/*.safetensors"


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def identity(source: str, revision: str | None, needs: Sequence[str] = SAFE_FILES) -> dict[str, str]:
    """What names these weights in a digest: repository and revision, or the SHA-256 over the local files.

    Raises ConfigError and EnvironmentFault as `check` and `locate` do; loads nothing and asks no network.
    """
    check(source, revision)
    if not is_local(source):
        return {"repository": source, "revision": str(revision)}
    path = Path(source).expanduser()
    if not path.exists():
        raise EnvironmentFault(f"{path}: no such model file or folder; give the path of one, or a hub id")
    return {"sha256": _digest(files_of(path, needs), path)}


def files_of(path: Path, needs: Sequence[str] = SAFE_FILES) -> list[Path]:
    """Files below a folder that `needs` names, sorted; a file stands for itself."""
    if path.is_file():
        return [path]
    return sorted({found for pattern in needs for found in path.rglob(pattern) if found.is_file()})


def require_safe(path: Path) -> Path:
    """The path, if a file of it holds weights as safetensors; EnvironmentFault where there are pickles alone."""
    found = [item.name for item in files_of(path, ("*",))]
    if any(name.endswith(".safetensors") for name in found):
        return path
    pickles = [name for name in found if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    seen = f"only {', '.join(sorted(pickles)[:3])}, which can run code when read" if pickles else "no weights"
    raise EnvironmentFault(f"{path}: holds {seen}; expected .safetensors files: convert them, or take another revision")


def _digest(paths: Iterable[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        digest.update(f"{name}\0{_sha256(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, once a process while its size and time stay: 1.5 s a GB."""
    del size, changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
