"""Where the rows of a Hugging Face data set are: the files of one split, its licence, and how to open each file.

`datasets` reads the layout (configs and splits in the card's YAML, folders, file names), the files are read here, by
columns and by rows: its streams read every row before the one that is wanted, stop at a bad one, and hang at exit where
they are left early (apache/arrow#45214). Of a Parquet file on the hub the wanted column chunks alone cross the network;
any other file is fetched into the hub's cache. A repository's code never runs: `datasets` has no such way any more, and
a data set that is only a script is refused.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault, SourceFault
from promptforge.models.weights import TOKEN_VARIABLE, is_local
from promptforge.records import digest_of
from promptforge.sources.readers.lines import open_csv, open_jsonl, open_tsv, open_txt
from promptforge.sources.readers.remote import OfflineError, first_line, hub_faults, open_ranges, read_card
from promptforge.sources.readers.rows import Reader
from promptforge.sources.readers.tar import open_tar
from promptforge.sources.readers.whole import open_json, open_parquet, open_parquet_at

_HUB_ID = re.compile(r"\A[\w.-]+/[\w.-]+\Z")
_REVISION = re.compile(r"\A[0-9a-f]{40}\Z")
_OF_MANY = re.compile(r"-(\d{5})-of-(\d{5})(?=[-.])")
_PICTURES = "metadata.*"  # of a folder of pictures only the file with their captions is read
#: Settings of a card that change no row that is read here.
_HARMLESS = frozenset(
    (
        *("name", "version", "description", "data_dir", "data_files", "features", "columns", "on_mixed_types"),
        *("batch_size", "block_size", "chunksize", "fragment_scan_options", "low_memory", "memory_map", "use_threads"),
        *("drop_labels", "drop_metadata", "parse_agent_traces"),
    )
)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a split. `digest` names the content of a hub's file; of a local one, at `path`, its bytes do."""

    label: str
    path: Path | None
    digest: str | None
    open: Callable[[], Reader]


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one split in order. `n_rows`: rows that the card claims, where the files may be incomplete."""

    where: str
    files: tuple[DataFile, ...]
    licence: str | None
    n_rows: int | None


def check(dataset: str, revision: str | None) -> None:
    """Raise ValueError unless it is a path without a revision, or a hub id with a full commit hash as one."""
    if is_local(dataset):
        if revision:
            raise ValueError(f"{dataset} is a path, which has no revision; leave revision out, or set it to ''")
    elif not _HUB_ID.match(dataset):
        raise ValueError(f"{dataset!r} is neither a folder here nor a hub id such as owner/name")
    elif revision is None or not _REVISION.match(revision):
        raise ValueError(
            f"{dataset}: revision is {revision!r}; expected the 40 hex digits of a commit, so that it always names the"
            f" same rows; `hf datasets info {dataset}` shows it as sha"
        )


def find(dataset: str, revision: str | None, config: str | None, split: str) -> Layout:
    """Where the split's rows are. Raises ConfigError, SourceFault or EnvironmentFault with the remedy."""
    if is_local(dataset):
        folder = Path(dataset).expanduser()
        if not folder.is_dir():
            raise SourceFault(f"{folder.absolute()}: no such data set folder; give the path of one, or a hub id")
        return _folder_layout(folder, str(folder), config, split)
    return _hub_layout(dataset, str(revision), config, split)


def _folder_layout(folder: Path, where: str, config: str | None, split: str) -> Layout:
    chosen, _ = _choose(str(folder), None, where, config, split)
    found = []
    for each in chosen:
        path = Path(each)
        name = _inside(each, f"{folder.resolve().as_posix()}/", where)
        found.append(DataFile(name, path, None, _opener(path, where, name)))
    return Layout(where, tuple(found), _licence(folder / "README.md"), None)


def _hub_layout(repo: str, revision: str, config: str | None, split: str) -> Layout:
    what = f"{repo} at {revision[:12]}"
    try:
        with hub_faults(repo, revision):
            card = read_card(repo, revision)
            chosen, _ = _choose(repo, revision, what, config, split)
    except OfflineError as exc:
        return _cached_layout(repo, revision, config, split, exc)
    prefix = f"hf://datasets/{repo}@{revision}/"
    names = [_inside(each, prefix, what) for each in chosen]
    files = tuple(_hub_file(repo, revision, name) for name in names)
    return Layout(what, files, _licence(card), None)


def _cached_layout(repo: str, revision: str, config: str | None, split: str, exc: Exception) -> Layout:
    """The layout of what was fetched before; a part of it must not pass for the whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    what = f"{repo} at {revision[:12]}"
    remedy = f"fetch it where there is a network with: hf download {repo} --repo-type dataset --revision {revision}"
    try:
        folder = Path(snapshot_download(repo, repo_type="dataset", revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError) as fault:
        is_part = type(fault).__name__ == "IncompleteSnapshotError"  # newer than the oldest huggingface_hub we take
        raise EnvironmentFault(
            f"{what}: {'only a part of it is' if is_part else 'not'} on this machine and the hub cannot be reached"
            f" ({exc}); {remedy} (private or gated: with {TOKEN_VARIABLE} set); or give the path of a data set folder"
        ) from exc
    try:
        chosen, said = _choose(str(folder), None, what, config, split)
    except SourceFault as fault:
        raise EnvironmentFault(f"{fault}; the hub cannot be reached, and this is what was fetched: {remedy}") from fault
    names = [_inside(each, f"{folder.resolve().as_posix()}/", what) for each in chosen]
    numbers: dict[str, set[tuple[int, int]]] = {}
    for name in names:
        if found := _OF_MANY.search(name):
            numbers.setdefault(_OF_MANY.sub("", name), set()).add((int(found[1]), int(found[2])))
    if lost := sorted(name for name, seen in numbers.items() if len(seen) != next(iter(seen))[1]):
        raise EnvironmentFault(
            f"{what}: some files of {lost[0]} are missing here, and the hub cannot be reached; {remedy}"
        )
    files = tuple(
        DataFile(_label(repo, revision, name), None, _named(repo, revision, name), _opener(folder / name, what, name))
        for name in names
    )
    return Layout(what, files, _licence(folder / "README.md"), said)


def _hub_file(repo: str, revision: str, name: str) -> DataFile:
    from huggingface_hub import try_to_load_from_cache

    what = f"{repo} at {revision[:12]}"
    cached = try_to_load_from_cache(repo, name, revision=revision, repo_type="dataset")

    def fetch() -> Reader:
        from huggingface_hub import hf_hub_download

        with hub_faults(repo, revision, final=True):
            path = Path(hf_hub_download(repo, name, revision=revision, repo_type="dataset"))
        return _opener(path, what, name)()

    def stream() -> Reader:
        return open_parquet_at(f"{what}: {name}", lambda: open_ranges(repo, revision, name))

    here = Path(cached) if isinstance(cached, str) else None
    opened = _opener(here, what, name) if here else stream if name.lower().endswith(".parquet") else fetch
    return DataFile(_label(repo, revision, name), None, _named(repo, revision, name), opened)


def _label(repo: str, revision: str, name: str) -> str:
    return f"{repo}@{revision}/{name}"


def _named(repo: str, revision: str, name: str) -> str:
    return digest_of(["hub", repo, revision, name])


def _opener(path: Path, where: str, name: str) -> Callable[[], Reader]:
    known: Mapping[str, Callable[[Path], Reader]] = {
        ".parquet": open_parquet,
        ".json": _open_any_json,
        ".jsonl": open_jsonl,
        ".ndjson": open_jsonl,
        ".csv": open_csv,
        ".tsv": open_tsv,
        ".txt": open_txt,
        ".tar": open_tar,
    }
    suffix = Path(name).suffix.lower()
    if suffix not in known:
        raise SourceFault(
            f"{where}: {name}: unknown kind {suffix or '(no ending)'!r}; expected {', '.join(known)}, none of them"
            " compressed"
        )
    return lambda: known[suffix](path)


def _open_any_json(path: Path) -> Reader:
    """A JSON list, or JSON lines: on the hub both are called .json."""
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return open_jsonl(path) if head.startswith(b"{") else open_json(path)


def _choose(
    place: str, revision: str | None, where: str, config: str | None, split: str
) -> tuple[list[str], int | None]:
    """Data files of the split as `datasets` finds them, and how many rows the card gives it."""
    builder = _builder(place, revision, where, config)
    files: Mapping[Any, list[str]] = builder.config.data_files or {}
    named = {str(name): list(paths) for name, paths in files.items()}
    if split not in named:
        raise ConfigError(f"{where}: no split {split!r}; it has {', '.join(map(repr, sorted(named))) or 'none'}")
    for name, value in sorted(vars(builder.config).items()):
        plain = getattr(type(builder.config)(), name, None)
        is_tab = name in ("sep", "delimiter") and value == "\t"  # what .tsv files are read with anyway
        if name not in _HARMLESS and value != plain and not is_tab:
            raise SourceFault(f"{where}: its card sets {name} = {value!r}, which is not read here; convert the files")
    chosen = named[split]
    if builder.name == "imagefolder" or builder.__module__.endswith(".imagefolder"):
        chosen = [path for path in chosen if fnmatch.fnmatch(path.rpartition("/")[2], _PICTURES)]
        if not chosen:
            raise SourceFault(f"{where}: pictures of split {split!r} without a metadata file, so there are no prompts")
    said = (builder.info.splits or {}).get(split)
    return chosen, said.num_examples or None if said else None


def _builder(place: str, revision: str | None, where: str, config: str | None) -> Any:
    datasets = importlib.import_module("datasets")  # 1.3 s, so only where a recipe has such a source
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        # A cache of its own: datasets would take what it once prepared under this name for the data set itself.
        with tempfile.TemporaryDirectory() as cache:
            return datasets.load_dataset_builder(place, config, revision=revision, cache_dir=cache)
    except DataFilesNotFoundError as exc:
        raise SourceFault(f"{where}: no data file: {first_line(exc)}") from exc
    except (HfHubHTTPError, ConnectionError, DatasetNotFoundError):
        raise
    except RuntimeError as exc:
        if "scripts" not in str(exc):
            raise
        raise ConfigError(
            f"{where}: is a loading script, code that promptforge never runs; take a revision that holds the data as"
            " files, such as that of the hub's branch refs/convert/parquet"
        ) from exc
    except (ValueError, TypeError, AttributeError, ImportError, OSError) as exc:
        if "onfig name is missing" in str(exc) or "BuilderConfig" in str(exc):
            listed = re.search(r"\[.*?\]", str(exc))
            raise ConfigError(f"{where}: config is {config!r}; expected one of {listed[0] if listed else exc}") from exc
        raise SourceFault(f"{where}: datasets cannot tell its layout: {type(exc).__name__}: {first_line(exc)}") from exc


def _inside(path: str, prefix: str, where: str) -> str:
    if not path.startswith(prefix) or ".." in path.removeprefix(prefix).split("/"):
        raise SourceFault(f"{where}: its card names {path}, which lies outside it; only its own files are read")
    return path.removeprefix(prefix)


def _licence(card: Path | None) -> str | None:
    """What the card states, e.g. cc-by-4.0; None where it states nothing that can be read."""
    from huggingface_hub import DatasetCard

    if card is None or not card.is_file():
        return None
    try:
        data = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, OSError):
        return None
    stated = data.get("license")
    if stated == "other":
        stated = data.get("license_name") or stated
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated) if stated else None
