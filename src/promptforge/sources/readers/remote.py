"""Files of data sets on the hub: ranges of them over the network, the card, every error with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from promptforge.errors import EnvironmentFault
from promptforge.models.weights import TOKEN_VARIABLE


class OfflineError(Exception):
    """The hub cannot be asked."""


@contextmanager
def hub_faults(repo: str, revision: str, *, final: bool = False) -> Iterator[None]:
    """Foreign errors as ours; no network is OfflineError, or where nothing else is left to try, `final`, a fault."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{repo} at {revision[:12]}"
    try:
        yield
    except GatedRepoError as exc:
        raise EnvironmentFault(
            f"{what}: gated; accept its terms on its page with your account, and set {TOKEN_VARIABLE} to a token of"
            " that account"
        ) from exc
    except RepositoryNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: the hub has no such data set, or hides it; check the id, and set {TOKEN_VARIABLE} where it is"
            " private"
        ) from exc
    except RevisionNotFoundError as exc:
        raise EnvironmentFault(
            f"{what}: the data set has no such revision; `hf datasets info {repo}` shows the newest as sha"
        ) from exc
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError) as exc:
        if final:
            raise EnvironmentFault(
                f"{what}: the hub cannot be reached any more ({first_line(exc)}); try again"
            ) from exc
        raise OfflineError(first_line(exc)) from exc
    except (HfHubHTTPError, FileNotFoundError) as exc:
        raise EnvironmentFault(f"{what}: the hub answers {type(exc).__name__}: {first_line(exc)}; try again") from exc
    except Exception as exc:
        if not type(exc).__module__.startswith("httpx"):
            raise
        if final:
            raise EnvironmentFault(
                f"{what}: the hub cannot be reached any more ({first_line(exc)}); try again"
            ) from exc
        raise OfflineError(f"{type(exc).__name__}: {first_line(exc)}") from exc


def read_card(repo: str, revision: str) -> Path | None:
    """The data set's card; the first question to the hub, whose error says what is wrong with repository and token."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    HfApi().dataset_info(repo, revision=revision)
    try:
        return Path(hf_hub_download(repo, "README.md", revision=revision, repo_type="dataset"))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def open_ranges(repo: str, revision: str, name: str) -> BinaryIO:
    """A file on the hub of which only what is read crosses the network."""
    from huggingface_hub import HfFileSystem

    with hub_faults(repo, revision, final=True):
        # 64 KiB: what is read beyond the asked bytes, in case the next read goes on there; columns of pictures do not.
        opened = HfFileSystem().open(f"datasets/{repo}@{revision}/{name}", "rb", block_size=1 << 16)
    return cast(BinaryIO, _Ranges(opened, repo, revision))


class _Ranges:
    """A file on the hub, whose network errors are faults of ours also where Arrow does the reading."""

    def __init__(self, stream: Any, repo: str, revision: str) -> None:
        self._stream, self._repo, self._revision = stream, repo, revision

    def read(self, size: int = -1) -> bytes:
        with hub_faults(self._repo, self._revision, final=True):
            return bytes(self._stream.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> _Ranges:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def first_line(exc: BaseException) -> str:
    """The first line of what an error says."""
    return str(exc).strip().partition("\n")[0]
