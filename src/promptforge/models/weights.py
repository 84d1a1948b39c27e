"""Where a model's files are and what they are: a folder or file of one's own, or a hub repository at a pinned revision.

Only files that hold no code are ever taken: safetensors, JSON, TOML, text and tokenizer models. A hub id needs a
40-digit revision, so that it names the same bytes for ever; then `identity` needs no look at them. A local path is
named by the SHA-256 of its files, never by where it lies.

Not covered: partial files of an interrupted download (huggingface_hub resumes them).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
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
    """Raise ConfigError unless `source` is a path, or a hub id with a full commit hash as revision."""
    if is_local(source):
        if revision is not None:
            raise ConfigError(f"{source} is a path, which has no revision; leave revision out")
        return
    if not _HUB_ID.match(source):
        raise ConfigError(f"{source!r} is neither a path nor a hub id such as owner/name")
    if revision is None or not _REVISION.match(revision):
        raise ConfigError(
            f"{source}: revision is {revision!r}; expected the 40 hex digits of a commit, so that it always names the"
            " same files (the model page shows it under Files, History)"
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
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    size = f", {gib:g} GiB of disk" if gib else ""
    what = f"{source} at {str(revision)[:12]}"
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(needs)))
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
    except LocalEntryNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: not on this machine and the hub cannot be reached (HF_HUB_OFFLINE="
            f"{os.environ.get('HF_HUB_OFFLINE', '0')}); fetch it where there is a network with: hf download {source}"
            f" --revision {revision}{size}; or give a local path"
        ) from exc
    except (HfHubHTTPError, OSError) as exc:
        remedy = "try again"
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            remedy = f"the disk is full; make room{size}, or set HF_HOME to a larger one"
        raise EnvironmentFault(f"{what}: could not be fetched ({type(exc).__name__}: {exc}); {remedy}") from exc


def is_here(source: str, revision: str | None, needs: Sequence[str] = ("*.json",)) -> bool:
    """Whether the files are on this machine already, without asking the network."""
    if is_local(source):
        return Path(source).expanduser().exists()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(needs), local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return False
    return any(folder.rglob("*.safetensors"))


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
