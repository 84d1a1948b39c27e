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
from fnmatch import fnmatch
from pathlib import Path

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.digests import sha256_of

#: What a model may consist of. Pickles (.bin, .pt, .ckpt) and Python files are not among them.
SAFE_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "*.toml")
#: Second copies in other types, which a pipeline reads only if it is asked for them by name: nobody here does.
VARIANTS = ("*.fp16*", "*.bf16*", "*.non_ema*")
_HUB_ID = re.compile(r"\A[\w.-]+/[\w.-]+\Z")
#: Files of which one set is enough for a tokenizer.
_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
    ("vocab.txt",),
)
_REVISION = re.compile(r"\A[0-9a-f]{40}\Z")
TOKEN_VARIABLE = "HF_TOKEN"
#: What begins the name of weights that come with the package.
OWN = "promptforge:"


def is_local(source: str) -> bool:
    """Whether `source` is a path or of this package: it begins with / . ~ or OWN, or exists; else it is a hub id."""
    return source.startswith(("/", ".", "~", OWN)) or Path(source).exists()


def path_of(source: str) -> Path:
    """Where a local source lies; promptforge:miniature is a folder of this package. It need not exist."""
    if source.startswith(OWN):
        return Path(__file__).parent / "bundled" / Path(source.removeprefix(OWN)).name
    return Path(source).expanduser()


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


def check_field(source: str, revision: str | None) -> None:
    """`check` inside a validator of pydantic, which tells a ValueError with the field's place."""
    try:
        check(source, revision)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


def locate(
    source: str, revision: str | None, *, needs: Sequence[str] = SAFE_FILES, gib: float | None = None, licence: str = ""
) -> Path:
    """The folder (or the one local file) with the model's files; fetched from the hub where they are not here yet.

    `needs`: glob patterns of the files that are wanted; VARIANTS never are. `gib`: their size, for the message.
    HF_HUB_OFFLINE=1 keeps it off the network. Raises EnvironmentFault naming the model, the licence to accept, the
    token to set, the disk needed.
    """
    check(source, revision)
    if is_local(source):
        path = path_of(source)
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
        folder = Path(snapshot_download(source, revision=revision, **_chosen(needs)))
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
    chosen = [f"--include '{pattern}'" for pattern in needs]
    if any(pattern.endswith(".safetensors") for pattern in needs):
        chosen += [f"--exclude '{pattern}'" for pattern in VARIANTS]
    return f"hf download {source} --revision {revision} {' '.join(chosen)}"


def _chosen(needs: Sequence[str]) -> dict[str, list[str]]:
    return {"allow_patterns": list(needs), "ignore_patterns": list(VARIANTS)}


def is_here(source: str, revision: str | None, needs: Sequence[str] = ("*.json",)) -> bool:
    """Whether all of the files are on this machine already, without asking the network."""
    return not missing_here(source, revision, needs)


def is_offline() -> bool:
    """Whether the hub is switched off, as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def missing_here(source: str, revision: str | None, needs: Sequence[str] = ("*.json",)) -> list[str]:
    """What of the files is not on this machine, sorted; asks no network. `needs` as for `locate`."""
    if is_local(source):
        path = path_of(source)
        if path.is_dir():
            return sorted(_absent(path))
        return [] if path.exists() else [str(path)]
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, local_files_only=True, **_chosen(needs)))
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
    if not _has_weights(folder.rglob("*.safetensors")):
        yield "*.safetensors"
    for index in folder.rglob("*.safetensors.index.json"):
        named = _json(index).get("weight_map")
        for name in set(named.values()) if isinstance(named, dict) else ():
            if not (index.parent / str(name)).exists():
                yield (index.parent / str(name)).relative_to(folder).as_posix()
    for name, what in _json(folder / "model_index.json").items():
        if isinstance(what, list) and not name.startswith("_") and None not in what:
            yield from (f"{name}/{lack}" for lack in _lacks(folder / name, str(what[-1])))


def _lacks(part: Path, kind: str) -> Iterator[str]:
    """What a part of a pipeline needs to be read, by the name of its class."""
    if not part.is_dir():
        yield ""
    elif "Tokenizer" in kind:
        if not any(all((part / name).exists() for name in names) for names in _TOKENIZERS):
            yield "tokenizer.json"
    elif "Scheduler" in kind:
        if not (part / "scheduler_config.json").exists():
            yield "scheduler_config.json"
    elif (part / "config.json").exists() != (has_weights := _has_weights(part.glob("*.safetensors"))):
        yield "config.json" if has_weights else "*.safetensors"


def _has_weights(paths: Iterable[Path]) -> bool:
    return any(path.exists() and not _is_variant(path) for path in paths)


def _is_variant(path: Path) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in VARIANTS)


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
    path = path_of(source)
    if not path.exists():
        raise EnvironmentFault(f"{path}: no such model file or folder; give the path of one, or a hub id")
    files = files_of(path, needs)
    return {"sha256": _digest(files if path.is_file() else [each for each in files if not _is_variant(each)], path)}


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
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        digest.update(f"{name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()
