"""verify names every fault of a damaged folder by its file, and finds none in a whole one."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from promptforge import schema
from promptforge.lock import Lock
from promptforge.records import canonical_json
from promptforge.stages.verify import Fault, verify
from promptforge.store import Commit, Store, TableFile


def told(root: Path) -> list[str]:
    return [f"{fault.file}: {fault.fault}" for fault in verify(root)]


def item(root: Path, stage: str, table: str) -> tuple[Commit, TableFile]:
    """The largest file of a table that a stage made."""
    found = [(c, f) for c in Store(root).commits(stage) if (f := c.file(table))]
    return max(found, key=lambda pair: pair[1].rows)


def replaced(root: Path, stage: str, changes: dict[str, Callable[[pa.Table], pa.Table]]) -> Commit:
    """Make a record say something else, in sound files: as if a stage had written it so."""
    store = Store(root)
    commit, _ = item(root, stage, next(iter(changes)))
    tables = {f.table: store.read(f) for f in commit.files}
    tables |= {name: change(tables[name]) for name, change in changes.items()}
    new = store.rewrite(commit, tables)
    text = (root / "tables.sql").read_text("utf-8")
    for old, fresh in zip(commit.files, new.files, strict=True):
        text = text.replace(old.name, fresh.name)
    (root / "tables.sql").write_text(text)
    return new


def test_a_finished_run_has_no_fault(finished: Path) -> None:
    assert told(finished) == []


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    assert verify(tmp_path) == [Fault("heads", "no head: nothing was finished in this folder")]


@pytest.mark.parametrize(
    ("stage", "table"),
    [("generate", "prompts"), ("render", "pixels"), ("score", "scores")],
)
def test_a_changed_byte_a_lost_file_and_a_torn_file_are_named(copy: Path, stage: str, table: str) -> None:
    commit, file = item(copy, stage, table)
    path = copy / file.name
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    (fault,) = told(copy)
    assert re.fullmatch(rf"{file.name}: sha256 is \w+\.\.\., record {commit.key} says {file.sha256[:16]}\.\.\.", fault)
    path.write_bytes(content[:100])
    assert len(told(copy)) == 1
    path.unlink()
    assert told(copy) == [f"{file.name}: missing, though record {commit.key} names it"]


@pytest.mark.parametrize("text", ["", "[]", '{"stage": 1}', "\udcff"])
def test_a_record_that_is_none_is_named(copy: Path, text: str) -> None:
    commit, _ = item(copy, "score", "scores")
    path = Store(copy).record_path(commit)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    faults = told(copy)
    assert any(fault.startswith(f"_commits/{commit.key}.json: not a commit record") for fault in faults)
    assert any(re.fullmatch(rf"heads/\d+\.json: names record {commit.key}, and there is no such.*", f) for f in faults)
    assert f"{commit.files[0].name}: no record names this file; the next run removes it" in faults


@pytest.mark.parametrize("text", ["", "[]", '{"number": "x"}'])
def test_a_head_that_is_none_is_named(copy: Path, text: str) -> None:
    path = max((copy / "heads").iterdir())
    path.write_text(text)
    assert [fault.split(" (")[0] for fault in told(copy)] == [f"heads/{path.name}: not a head"]


def test_a_record_or_head_under_another_name_is_told(copy: Path) -> None:
    commit, _ = item(copy, "score", "scores")
    path = Store(copy).record_path(commit)
    shutil.copy(path, path.with_name("b00009-0123456789abcdef.json"))
    newest = max((copy / "heads").iterdir())
    shutil.copy(newest, copy / "heads" / "000099.json")
    assert told(copy) == [
        f"_commits/score/b00009-0123456789abcdef.json: holds the record {commit.key} revision 0; it was renamed",
        f"heads/000099.json: holds head {int(newest.stem)}; it was renamed",
    ]


def test_a_record_never_leads_out_of_the_folder(copy: Path) -> None:
    commit, _ = item(copy, "select", "selection")
    path = Store(copy).record_path(commit)
    raw = json.loads(path.read_text())
    raw["files"][0]["name"] = "../../../etc/passwd"
    path.write_text(json.dumps(raw))
    assert any("names a file '../../../etc/passwd', which is not one of its own" in fault for fault in told(copy))


def test_what_a_killed_run_left_is_told_and_gone_after_the_next(
    copy: Path, drive: Callable[..., Any], tiny: Callable[[], dict[str, Any]]
) -> None:
    (copy / "scores" / ".tmp-0123").write_bytes(b"half")
    (copy / "scores" / "score-b00000-0123456789abcdef.parquet").write_bytes(b"orphan")
    (copy / "dataset.tmp-0123").mkdir()
    (copy / "dataset.tmp-0123" / "README.md").write_text("half")
    commit, _ = item(copy, "score", "scores")
    old = Store(copy).record_path(commit).read_bytes()
    new = replaced(copy, "score", {"scores": lambda table: table})
    Store(copy).record_path(commit).write_bytes(old)
    assert told(copy) == [
        f"_commits/{commit.key}.json: superseded by a rewrite that was cut off; run again",
        "dataset.tmp-0123: unfinished: publish was cut off here; the next one removes it",
        "scores/.tmp-0123: unfinished: a run was cut off here; the next one removes it",
        "scores/score-b00000-0123456789abcdef.parquet: no record names this file; the next run removes it",
    ]
    assert new.revision == 1
    drive(copy, tiny())
    assert told(copy) == []


def resaid(root: Path, commit: Commit, **changes: Any) -> None:
    """Change what a record says of its first file."""
    raw = asdict(commit)
    raw["files"][0].update(changes)
    Store(root).record_path(commit).write_text(canonical_json(raw))


def test_rows_and_values_are_compared_with_the_record(copy: Path) -> None:
    commit, file = item(copy, "score", "scores")
    resaid(copy, commit, rows=file.rows + 1)
    assert told(copy) == [f"{file.name}: {file.rows} rows, record {commit.key} says {file.rows + 1}"]
    resaid(copy, commit, columns={**file.columns, "value": "0" * 32})
    assert told(copy) == [f"{file.name}: values are not those whose digests record {commit.key} holds"]


def test_a_table_that_breaks_its_definition_is_told_though_its_sum_is_right(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_check_constraints", lambda *_: None)
        new = replaced(
            copy,
            "dedup",
            {"verdicts": lambda t: t.set_column(4, "verdict", pa.array(["maybe"] * t.num_rows))},
        )
    (fault,) = told(copy)
    assert fault.startswith(f"{new.files[0].name}: table verdicts breaks schemas/verdicts.sql: Constraint Error")


def test_a_file_of_another_version_of_its_table_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = schema.arrow_schema
    with monkeypatch.context() as patch:
        patch.setattr(schema, "arrow_schema", lambda name: real(name).with_metadata({schema.TABLE_KEY: b"scores/2"}))
        new = replaced(copy, "score", {"scores": lambda t: t})
    (fault,) = told(copy)
    assert fault == f"{new.files[0].name}: holds table scores/2, expected scores/1; use the promptforge that wrote it"


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def first(table: pa.Table, column: str) -> Any:
    return table[column][0].as_py()


@pytest.mark.parametrize(
    ("stage", "table", "column", "message"),
    [
        ("generate", "prompts", "row_id", "row_id {} is there 2 times"),
        ("select", "selection", "prompt_id", "prompt_id {} is there 2 times"),
        ("select", "take_outcomes", "prompt_id", "prompt_id {} is there 2 times"),
        ("publish", "published", "prompt_id", "prompt_id {} is there 2 times"),
        ("render", "images", "image_id", "image_id {} is there 2 times"),
        ("plan", "render_plan", "image_id", "image_id {} is there 2 times"),
        ("dedup", "verdicts", "row_id", "row {} was dropped 2 times"),
    ],
)
def test_an_id_that_stands_twice_is_told_with_its_file(
    copy: Path, stage: str, table: str, column: str, message: str
) -> None:
    _, file = item(copy, stage, table)
    key = first(Store(copy).read(file), column)
    new = replaced(copy, stage, {table: twice})
    fresh = new.file(table)
    assert fresh is not None
    assert f"{fresh.name}: {message.format(key)}" in told(copy)


def test_a_score_that_was_measured_twice_is_told_with_both_files(copy: Path) -> None:
    _, file = item(copy, "score", "scores")
    store = Store(copy)
    row = store.read(file).slice(0, 1)
    extra = store.commit("score", "b00007", "e" * 64, {"scores": row})
    key = " ".join(first(row, name) for name in ("image_id", "scorer", "digest", "metric"))
    label = "concat_ws(' ', image_id, scorer, digest, metric)"
    assert told(copy) == sorted(f"{name}: {label} {key} is there 2 times" for name in (file.name, extra.files[0].name))


def without(column: str, value: object) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.filter(pa.array([seen != value for seen in table[column].to_pylist()]))


def test_a_planned_and_selected_picture_that_is_nowhere_is_told(copy: Path) -> None:
    _, file = item(copy, "render", "images")
    image = first(Store(copy).read(file), "image_id")
    drop = without("image_id", image)
    replaced(copy, "render", {"images": drop, "pixels": drop})
    faults = " ".join(told(copy))
    assert f"picture {image} is planned and not in images" in faults
    assert f"a score of picture {image}, which is not in images" in faults
    assert f"picture {image} is selected and not in images" in faults


def test_a_picture_without_pixels_is_told(copy: Path) -> None:
    _, file = item(copy, "render", "images")
    image = first(Store(copy).read(file), "image_id")
    new = replaced(copy, "render", {"pixels": without("image_id", image)})
    images, pixels = new.file("images"), new.file("pixels")
    assert images is not None
    assert pixels is not None
    assert told(copy) == [f"{pixels.name}: no pixels of {image}, which {images.name} says was rendered"]


def test_pixels_that_are_not_their_sum_or_no_picture_are_told(copy: Path) -> None:
    _, file = item(copy, "render", "pixels")
    rows = Store(copy).read(file)
    image, encoded = first(rows, "image_id"), [value.as_py() for value in rows["encoded"]]
    other = [b"RIFF no picture", *encoded[1:]]
    new = replaced(copy, "render", {"pixels": lambda t: t.set_column(1, "encoded", pa.array(other, pa.binary()))})
    pixels = new.file("pixels")
    assert pixels is not None
    assert told(copy) == [f"{pixels.name}: picture {image}: sha256 is not the one in images"]


def test_rows_that_are_not_accounted_for_are_told(copy: Path) -> None:
    _, file = item(copy, "select", "selection")
    row = first(Store(copy).read(file), "row_id")
    replaced(copy, "select", {"selection": without("row_id", row)})
    assert any(f"row {row} is not accounted for: its fate is undecided" in fault for fault in told(copy))


def test_a_published_prompt_that_was_not_accepted_is_told(copy: Path) -> None:
    _, file = item(copy, "publish", "published")
    prompt = first(Store(copy).read(file), "prompt_id")
    replaced(copy, "select", {"selection": without("prompt_id", prompt)})
    assert any(f"prompt {prompt} is published, but not accepted" in fault for fault in told(copy))


def test_a_purged_text_that_is_still_there_is_told(copy: Path) -> None:
    _, file = item(copy, "generate", "prompts")
    rows = Store(copy).read(file, ["prompt_id", "fold_key"]).slice(1, 1).to_pylist()
    stones = [{**rows[0], "reason": "takedown"}]
    table = pa.Table.from_pylist(stones, schema=schema.arrow_schema("tombstones"))
    Store(copy).commit("purge", "all", "e" * 64, {"tombstones": table})
    name = rows[0]["prompt_id"]
    assert told(copy) == [f"{file.name}: prompt {name} was purged and its text is here; run purge again"]


def test_more_faults_of_a_kind_than_a_screen_holds_are_counted(copy: Path) -> None:
    store = Store(copy)
    rows = pa.concat_tables([store.read(f) for c in store.commits("score") for f in c.files])
    assert rows.num_rows > 40
    store.commit("score", "b00007", "e" * 64, {"scores": rows})
    assert any(re.match(rf"scores: {rows.num_rows - 20} more like: ", fault) for fault in told(copy))


def test_a_data_set_that_is_not_its_manifests_or_not_the_heads_is_told(copy: Path) -> None:
    index = copy / "dataset" / "index.parquet"
    content = index.read_bytes()
    index.write_bytes(content[:-1] + b"x")
    assert any(fault.startswith("dataset/index.parquet: sha256") for fault in told(copy))
    index.write_bytes(content)
    assert told(copy) == []
    (copy / "dataset" / "extra.txt").write_text("?")
    assert any(fault.startswith("dataset/extra.txt: extra") for fault in told(copy))
    shutil.rmtree(copy / "dataset")
    (fault,) = told(copy)
    assert re.match(r"dataset: missing, though head \d+ says that it was published", fault)


def test_a_list_of_files_that_is_behind_the_head_is_told(copy: Path) -> None:
    (copy / "tables.sql").write_text("SELECT 1;")
    (fault,) = told(copy)
    assert fault.startswith("tables.sql: does not name ")


@pytest.mark.parametrize("seed", range(8))
def test_damage_of_any_kind_is_found_and_never_raises(copy: Path, seed: int) -> None:
    """Bytes flipped, cut, grown, emptied, swapped or removed, a file made a folder; one to four files at a time."""
    rng = random.Random(seed)
    files = [path for path in sorted(copy.rglob("*")) if path.is_file() and path.name not in IGNORED]
    for path in rng.sample(files, rng.randint(1, 4)):
        content = bytearray(path.read_bytes())
        kind = rng.choice(["flip", "cut", "grow", "empty", "swap", "remove", "folder"])
        if kind == "flip" and content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        elif kind == "cut":
            path.write_bytes(content[: rng.randrange(len(content))])
        elif kind == "grow":
            path.write_bytes(content + b"\x00")
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "swap":
            path.write_bytes(rng.choice(files).read_bytes() if rng.random() < 0.9 else b"PAR1")
        else:
            path.unlink()
            if kind == "folder":
                path.mkdir()
    assert all(fault.file and fault.fault for fault in verify(copy))


# What no record speaks of: the lock, the recipe of the next run, and files for people.
IGNORED = {"_lock", "_lock.json", "_run.json", "tables.sql", "rejects.md", "recipe.toml"}


def test_verify_changes_nothing(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    verify(copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_run_that_was_stopped_before_its_first_head_can_be_looked_at(tmp_path: Path) -> None:
    row = pa.Table.from_pylist(
        [{"epoch": 1, "stage": "render", "n_rows": 1, "seconds": 1.0}], schema=schema.arrow_schema("cost")
    )
    with Lock(tmp_path):
        Store(tmp_path).commit("cost", "e000001", "a" * 64, {"cost": row})
    assert told(tmp_path) == ["heads: no head: nothing was finished in this folder"]
