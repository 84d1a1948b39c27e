"""Publish cut off at any step, and what it says to a second call."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from promptforge.errors import StoreFault
from promptforge.stages.publish import publish


def nothing(root: Path) -> None:
    """Publish was killed before it built anything, or somebody removed the folder."""
    shutil.rmtree(root / "dataset")


def half_built(root: Path) -> None:
    fresh = tmp_of(root)
    (root / "dataset").rename(fresh)
    (fresh / "manifest.json").unlink()
    (fresh / "index.parquet").write_bytes(b"PAR1")


def built_but_not_in_place(root: Path) -> None:
    (root / "dataset").rename(tmp_of(root))


def between_the_two_renames(root: Path) -> None:
    (root / "dataset").rename(tmp_of(root))
    old_one(root / "dataset.old-0123456789abcdef")


def old_not_removed(root: Path) -> None:
    old_one(root / "dataset.old-0123456789abcdef")


def another_in_place(root: Path) -> None:
    (root / "dataset").rename(tmp_of(root))
    old_one(root / "dataset")


def a_file_lost(root: Path) -> None:
    (root / "dataset/index.parquet").unlink()


def a_file_too_many(root: Path) -> None:
    (root / "dataset/data/train-00009-of-00003.parquet").write_bytes(b"")


def of_another_digest(root: Path) -> None:
    old_one(root / "dataset.tmp-fedcba9876543210")


def old_one(folder: Path) -> None:
    folder.mkdir()
    (folder / "manifest.json").write_text('{"digest": "0", "files": {}}')


def tmp_of(root: Path) -> Path:
    manifest = json.loads(next(root.glob("dataset*/manifest.json")).read_text("utf-8"))
    return root / f"dataset.tmp-{manifest['digest'][:16]}"


@pytest.mark.parametrize(
    "state",
    [
        nothing,
        half_built,
        built_but_not_in_place,
        between_the_two_renames,
        old_not_removed,
        another_in_place,
        a_file_lost,
        a_file_too_many,
        of_another_digest,
    ],
)
def test_a_rerun_finishes_what_was_cut_off(
    small: SimpleNamespace, done: Path, copied: Path, state: Callable[[Path], None]
) -> None:
    state(copied)
    run = small.a_run(copied)
    publish(run, run.store.all_commits())
    assert small.contents(copied / "dataset") == small.contents(done / "dataset")
    assert sorted(path.name for path in copied.glob("dataset*")) == ["dataset"]


def test_where_building_fails_nothing_is_left_and_the_old_data_set_stays(
    small: SimpleNamespace, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.a_run(copied, ["publish.rows_per_file=2"])
    before = small.contents(copied / "dataset")

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("promptforge.stages.publish.card", full)
    with pytest.raises(OSError, match="No space left"):
        publish(run, run.store.all_commits())
    assert small.contents(copied / "dataset") == before
    assert sorted(path.name for path in copied.glob("dataset*")) == ["dataset"]


def test_a_second_call_does_nothing_and_says_so(small: SimpleNamespace, copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copied / "dataset").rglob("*")}
    run = small.a_run(copied)
    _, tally = publish(run, run.store.all_commits())
    assert (tally.done, tally.skipped) == (0, 1)
    assert {path: path.stat().st_mtime_ns for path in (copied / "dataset").rglob("*")} == before


def test_a_picture_that_no_commit_holds_stops_publish_by_its_id(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    commits = small.fill(run)
    lost = next(item for item in commits if item.stage == "render")
    tables = {item.table: run.store.read(item) for item in lost.files}
    gone = tables["pixels"]["image_id"][0].as_py()
    store = run.store
    smaller = store.rewrite(lost, {**tables, "pixels": tables["pixels"].slice(1)})
    with pytest.raises(StoreFault, match=f"no committed picture {gone}"):
        publish(run, [smaller if item is lost else item for item in commits])
    assert not list(tmp_path.glob("dataset*"))


def test_a_picture_that_is_not_what_was_rendered_stops_publish(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    commits = small.fill(run)
    swapped = next(item for item in commits if item.stage == "render")
    tables = {item.table: run.store.read(item) for item in swapped.files}
    encoded = tables["pixels"]["encoded"].to_pylist()
    pixels = tables["pixels"].set_column(1, "encoded", [[encoded[1], encoded[0], *encoded[2:]]])
    wrong = run.store.rewrite(swapped, {**tables, "pixels": pixels})
    with pytest.raises(StoreFault, match="is not what was rendered"):
        publish(run, [wrong if item is swapped else item for item in commits])
