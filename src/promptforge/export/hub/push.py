"""A published data set or an export onto the Hugging Face hub: files compared first, then one commit.

What the repository holds besides is removed in the same commit (but for .gitattributes), so that no shard of an earlier
version stays. Large files go up before the commit, and what the hub has already is not sent again: an upload that was
cut off goes on there. Nothing changes for readers until the commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptforge.errors import ConfigError, EnvironmentFault, StoreFault
from promptforge.export.folder.output import STATEMENT
from promptforge.files import differences
from promptforge.models.weights import TOKEN_VARIABLE
from promptforge.reader import manifest

KEPT = frozenset({".gitattributes"})  #: the hub's own


@dataclass(frozen=True)
class Parcel:
    """What is going to be pushed; `files` maps names in the repository to bytes."""

    folder: Path
    digest: str
    files: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(self.files.values())


def pack(folder: Path) -> Parcel:
    """Compare every file of a data set or export with its statement.

    Raises StoreFault for a file that is missing, changed or not named, ConfigError for a folder that is neither.
    """
    statement = next((name for name in ("manifest.json", STATEMENT) if (folder / name).is_file()), None)
    if statement is None:
        raise ConfigError(f"{folder}: neither a published data set (manifest.json) nor an export ({STATEMENT})")
    stated = manifest(folder) if statement != STATEMENT else json.loads((folder / STATEMENT).read_text("utf-8"))
    sums = {name: item["sha256"] for name, item in stated["files"].items()}
    says = {
        "missing": "missing",
        "extra": f"not named by {statement}",
        "changed": f"sha256 is not what {statement} says",
    }
    faults = [f"{folder / name}: {says[what]}" for name, what, _ in differences(folder, sums) if name != statement]
    if faults:
        raise StoreFault("\n".join([*faults, f"{folder}: make it anew before it is pushed"]))
    files = {name: (folder / name).stat().st_size for name in sorted((*sums, statement))}
    return Parcel(folder, stated["digest"], files)


def present(repository: str) -> frozenset[str] | None:
    """Names of the files in a repository; None where there is no such repository, or none that the token may see."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        return frozenset(HfApi().list_repo_files(repository, repo_type="dataset"))
    except RepositoryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as exc:
        raise _refused(repository, exc) from exc


def push(parcel: Parcel, repository: str, *, private: bool) -> str:
    """Make the repository where there is none, send the files, commit once; the commit's address.

    Raises EnvironmentFault where the hub refuses: no token, no right, no network.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        old = (present(repository) or frozenset()) - parcel.files.keys() - KEPT
        operations = [
            *(CommitOperationAdd(name, str(parcel.folder / name)) for name in parcel.files),
            *(CommitOperationDelete(name) for name in sorted(old)),
        ]
        message = f"promptforge data set {parcel.digest[:16]}"
        return str(api.create_commit(repository, operations, commit_message=message, repo_type="dataset").commit_url)
    except (HfHubHTTPError, OSError, ValueError) as exc:
        raise _refused(repository, exc) from exc


def _refused(repository: str, exc: Exception) -> EnvironmentFault:
    status = getattr(getattr(exc, "response", None), "status_code", None)
    if status in (401, 403):
        return EnvironmentFault(
            f"{repository}: the hub refuses ({status}); set {TOKEN_VARIABLE} to a token with the right to write there"
        )
    return EnvironmentFault(f"{repository}: the hub cannot be used: {str(exc).splitlines()[0] if str(exc) else exc!r}")
