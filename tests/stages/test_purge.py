"""purge: a text and its picture are in no file of the folder any more, hash and reason are."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from promptforge import catalog, recipe, records
from promptforge.errors import ConfigError, LockedError, SourceFault
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages import run as runner
from promptforge.stages.purge import purge
from promptforge.stages.verify import verify
from promptforge.store import Store

TEXT = 'a wooden sign that says "OPEN"'
TWICE = "a quiet lake at dawn"  # stands in the input in two spellings
Recipe = Callable[[], dict[str, Any]]


def strings(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it lies on disk, and of Parquet every value of every column as bytes."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        yield name, path.read_bytes()
        if path.suffix == ".parquet":
            for column in pq.ParquetFile(path).read().flatten().flatten().columns:
                for value in column.to_pylist():
                    yield name, value if isinstance(value, bytes) else str(value).encode()


def holding(root: Path, *needles: str | bytes) -> set[str]:
    """Names of the files that hold any of these, also as JSON writes them."""
    wanted = [needle.encode() if isinstance(needle, str) else needle for needle in needles]
    wanted += [needle.replace(b'"', b'\\"') for needle in wanted if b'"' in needle]
    return {name for name, content in strings(root) if any(needle in content for needle in wanted)}


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        return list(con.sql(query).fetchall())


def first_picture(root: Path, prompt: str) -> tuple[str, bytes]:
    """Name and encoded bytes of the first take of a prompt."""
    ((image, encoded),) = rows(
        root,
        f"SELECT image_id, encoded FROM pixels JOIN images USING (image_id) WHERE prompt_id = '{prompt}' AND take = 0",
    )
    return image, encoded


def shown(root: Path) -> set[bytes]:
    """SHA-256 of the decoded pixels of every picture anywhere in the folder."""
    found = set()
    for _, content in strings(root):
        if content[:4] in (b"RIFF", b"\x89PNG"):
            with Image.open(io.BytesIO(content)) as image:
                found.add(hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).digest())
    return found


def pixels_of(encoded: bytes) -> bytes:
    with Image.open(io.BytesIO(encoded)) as image:
        return hashlib.sha256(np.asarray(image.convert("RGB")).tobytes()).digest()


@pytest.fixture(scope="module")
def purged(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, drive: Callable[..., Any], tiny: Recipe
) -> dict[str, Any]:
    """A run with two recipes' worth of records and some debris, out of which one text was purged."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("purged") / "run"))
    # records that no head names any more: other thresholds, other filters, twice the takes
    drive(root, recipe.override(tiny(), ["filters.length.max_words=40", "render.takes=2", "select.gates={}"]))
    drive(root, tiny())
    (root / "rejects.md").write_text(f"dropped: {TEXT}\n")
    (root / "dataset-mine").mkdir()
    (root / "dataset.old-0123").mkdir()
    (root / "dataset.old-0123" / "README.md").write_text(TEXT)
    (root / "prompts" / ".tmp-0123").write_text(TEXT)
    prompt = records.prompt_id(TEXT)
    image, encoded = first_picture(root, prompt)
    before = {
        "holding": holding(root, TEXT, encoded),
        "shown": pixels_of(encoded) in shown(root),
        "accepted": rows(root, "SELECT axis, count(*) FROM accepted GROUP BY 1 ORDER BY 1"),
        "images": {row[0] for row in rows(root, "SELECT image_id FROM images")},
    }
    done = purge(root, [prompt], "takedown")
    return {"root": root, "prompt": prompt, "image": image, "encoded": encoded, "before": before, "done": done}


def test_the_text_and_its_picture_were_there_before(purged: dict[str, Any]) -> None:
    folders = {name.partition("/")[0].partition(".")[0] for name in purged["before"]["holding"]}
    assert {"prompts", "pixels", "dataset", "rejects"} <= folders
    assert purged["before"]["shown"]


def test_neither_the_text_nor_its_picture_is_in_any_file(purged: dict[str, Any]) -> None:
    assert holding(purged["root"], TEXT, '"OPEN"', "wooden sign", purged["encoded"]) == set()
    assert holding(purged["root"], purged["encoded"][40:140]) == set()
    assert pixels_of(purged["encoded"]) not in shown(purged["root"])


def test_a_folder_of_the_persons_own_stays(purged: dict[str, Any]) -> None:
    assert (purged["root"] / "dataset-mine").is_dir()


def test_its_names_are_left_in_the_tombstone_alone(purged: dict[str, Any]) -> None:
    assert {name.partition("/")[0] for name in holding(purged["root"], purged["prompt"])} == {"tombstones"}
    assert holding(purged["root"], purged["image"]) == set()
    assert rows(purged["root"], "SELECT prompt_id, reason FROM tombstones") == [(purged["prompt"], "takedown")]
    assert purged["done"].prompts == (purged["prompt"],)


def test_the_row_stays_with_its_origin_and_its_reason(purged: dict[str, Any]) -> None:
    ((row, source, number, axis, text, fate, stage_name, check, reason),) = rows(
        purged["root"],
        "SELECT p.row_id, p.source, p.source_row, p.axis, coalesce(p.text, p.text_clean, p.prompt_id, p.fold_key,"
        " p.scene, p.noise_group, p.split_group, p.expected_text[1]), f.fate, f.stage, f.check_name, f.reason"
        " FROM prompts p JOIN fates f USING (row_id) WHERE f.check_name = 'tombstone'",
    )
    assert len(row) == 32
    assert (source, number, axis, text) == ("text-rendering", 0, "text_rendering", None)
    assert (fate, stage_name, check, reason) == ("dropped", "generate", "tombstone", "takedown")


def test_every_input_row_is_still_accounted_for(purged: dict[str, Any]) -> None:
    assert verify(purged["root"]) == []
    assert rows(purged["root"], "SELECT count(*), count(DISTINCT row_id) FROM fates") == [(30, 30)]


def test_the_next_in_the_stream_moves_up_and_nothing_else_is_rendered(purged: dict[str, Any]) -> None:
    assert (
        rows(purged["root"], "SELECT axis, count(*) FROM accepted GROUP BY 1 ORDER BY 1")
        == (purged["before"]["accepted"])
    )
    after = {row[0] for row in rows(purged["root"], "SELECT image_id FROM images")}
    assert len(after - purged["before"]["images"]) == 1
    done = {tally.stage: tally.rows for tally in purged["done"].tallies if tally.done}
    assert (done["render"], done["score"]) == (1, 1)
    assert "generate" not in done


def test_a_purged_record_is_what_generate_makes_anew(
    purged: dict[str, Any], tmp_path: Path, drive: Callable[..., Any], tiny: Recipe
) -> None:
    """A fresh folder that knows the tombstone makes the same columns, so nothing downstream is redone."""
    old = Store(purged["root"])
    stone = old.commits("purge")[0]
    fresh = Store(tmp_path)
    fresh.commit(stone.stage, stone.shard, stone.digest, {"tombstones": old.read(stone.files[0])})
    drive(tmp_path, tiny())
    for left, right in zip(old.commits("generate"), fresh.commits("generate"), strict=True):
        assert [(f.table, f.columns) for f in left.files] == [(f.table, f.columns) for f in right.files]
    assert dataset(tmp_path) == dataset(purged["root"])


def dataset(root: Path) -> dict[str, str]:
    folder = root / "dataset"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_rerun_brings_nothing_back(purged: dict[str, Any], drive: Callable[..., Any], tiny: Recipe) -> None:
    before = dataset(purged["root"])
    assert all(tally.done == 0 for tally in drive(purged["root"], tiny()).values())
    drive(purged["root"], recipe.override(tiny(), ["filters.length.max_words=50"]))
    drive(purged["root"], recipe.override(tiny(), ["publish.natural_test_share=0.2"]))  # generate is made again
    assert holding(purged["root"], TEXT, "wooden sign") == set()
    assert verify(purged["root"]) == []
    drive(purged["root"], tiny())
    assert dataset(purged["root"]) == before


def test_purging_again_does_nothing(purged: dict[str, Any]) -> None:
    again = purge(purged["root"], [purged["prompt"]], "takedown")
    assert (again.prompts, again.rewritten) == ((), 0)
    assert sum(tally.done for tally in again.tallies) == 0
    assert (purged["root"] / "dataset" / "manifest.json").exists()


def test_other_spellings_go_too_and_a_row_can_be_named(copy: Path) -> None:
    ((row,),) = rows(copy, "SELECT row_id FROM prompts WHERE source = 'image-quality' AND source_row = 5")
    done = purge(copy, [row], "personal_data")
    assert len(done.prompts) == 2
    assert records.prompt_id(TWICE) in done.prompts
    assert holding(copy, TWICE, "Quiet LAKE", "uiet lake") == set()
    assert rows(copy, "SELECT source_row, reason FROM fates WHERE check_name = 'tombstone' ORDER BY 1") == [
        (0, "personal_data"),
        (5, "personal_data"),
    ]
    assert verify(copy) == []
    assert purge(copy, [row], "personal_data").rewritten == 0  # by a row that has no name any more


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@pytest.mark.parametrize("after", [0, 2, 7])
def test_a_purge_that_was_cut_off_is_finished_by_any_later_one(
    copy: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Cut off after so many rewritten records; the tombstone is the first thing there is."""
    prompt = records.prompt_id(TEXT)
    real, count = Store.rewrite, 0

    def cut(self: Store, *args: Any) -> Any:
        nonlocal count
        if count == after:
            raise Killed
        count += 1
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "rewrite", cut)
        try:
            purge(copy, [prompt], "takedown")
        except Killed:
            assert any("was purged and its text is here" in fault.fault for fault in verify(copy))
    purge(copy, [], "takedown")
    assert holding(copy, TEXT, "wooden sign") == set()
    assert {name.partition("/")[0] for name in holding(copy, prompt)} == {"tombstones"}
    assert verify(copy) == []


def killed(*args: Any) -> None:
    raise Killed


def test_where_the_data_set_cannot_be_made_anew_there_is_none(
    tmp_path: Path, drive: Callable[..., Any], tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tiny()
    own = tmp_path / "own.txt"
    own.write_text(f'{TEXT}\na mug that reads "TEA"\n')
    raw["sources"] = [{"kind": "files", "paths": [str(own)], "axis": "text_rendering"}]
    drive(tmp_path / "r", raw)
    own.unlink()
    for end in (Killed, SourceFault):  # the first is cut off when every record is rewritten
        runner._opened.cache_clear()  # a purge is a process of its own
        with monkeypatch.context() as patch, pytest.raises(end):
            if end is Killed:
                patch.setattr(Store, "head", killed)
            purge(tmp_path / "r", [records.prompt_id(TEXT)], "takedown")
    assert holding(tmp_path / "r", TEXT, "wooden sign") == set()
    assert not (tmp_path / "r" / "dataset").exists()


def test_what_cannot_be_purged_is_refused_before_anything_is_changed(copy: Path) -> None:
    before = dataset(copy) | {path.name: "" for path in copy.rglob("*.parquet")}
    ((row,),) = rows(copy, "SELECT row_id FROM fates WHERE fate = 'unreadable'")
    for ids, reason, message in (
        (["0" * 32], "takedown", "no prompt_id or row_id '0{32}'"),
        ([row], "takedown", "was never readable, so nothing of it is kept"),
        ([records.prompt_id(TEXT), "nonsense"], "takedown", "no prompt_id or row_id 'nonsense'"),
        ([records.prompt_id(TEXT)], "On request!", "expected a snake_case code"),
    ):
        with pytest.raises(ConfigError, match=message):
            purge(copy, ids, reason)
    assert dataset(copy) | {path.name: "" for path in copy.rglob("*.parquet")} == before


def test_a_run_at_work_keeps_purge_out(copy: Path) -> None:
    with Lock(copy), pytest.raises(LockedError):
        purge(copy, [records.prompt_id(TEXT)], "takedown")


def test_a_folder_that_has_published_nothing_yet_is_purged_without_publishing(tmp_path: Path, tiny: Recipe) -> None:
    """A run that was cut off before its first head: only its records are rewritten."""
    root = tmp_path / "early"
    runner.prepare(root, tiny(), "test")
    with Lock(root):
        for shard in range(pipeline.text_shards(root)):
            pipeline.make_text(root, shard)
    done = purge(root, [records.prompt_id(TEXT)], "takedown")
    assert done.tallies == ()
    assert done.rewritten >= 1
    assert holding(root, TEXT, "wooden sign") == set()
    assert not (root / "dataset").exists()
    assert pc.sum(Store(root).read(Store(root).commits("purge")[0].files[0])["reason"].is_valid()).as_py() == 1
