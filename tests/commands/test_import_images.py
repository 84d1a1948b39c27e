"""import-images from the command line to the data set: the same pixels, scored and published like any other picture."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from promptforge import catalog, records
from promptforge.commands import import_images
from promptforge.commands.import_options import Import
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.render import decode
from promptforge.stages.run import prepare
from promptforge.teachers.importing.sets import read_set

Ask = Callable[..., tuple[int, str, str]]

PROMPTS = ["a quiet lake at dawn", "a red apple on a blue table", 'a shop sign that says "Open Late"']


def picture(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two takes of each prompt, one of them damaged, and a prompt whose picture is not there."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my pictures"
    folder.mkdir()
    rows = []
    for number, text in enumerate([*PROMPTS, *PROMPTS]):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "text": text, "category": "mine"})
    damaged = folder / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    rows.append({"file_name": "gone.png", "text": "a lost picture"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return folder


def stored(root: Path) -> dict[tuple[str, int], Any]:
    """(text, take) -> pixels in the tables, or the error."""
    with catalog.open_run(root) as con:
        rows = con.sql(
            "SELECT text_clean, images.take, error, encoded FROM render_plan JOIN images USING (image_id)"
            " LEFT JOIN pixels USING (image_id) JOIN kept ON kept.prompt_id = images.prompt_id"
        ).fetchall()
    return {(text, take): error or decode(data) for text, take, error, data in rows}


def test_imported_pictures_are_scored_and_published_like_any_other(pictures: Path, start: Callable[..., Any]) -> None:
    running = start("import-images", pictures.name, "--licence", "CC0-1.0", "--name", "FLUX", cwd=pictures.parent)
    said, _ = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "7 pictures for 4 prompts, up to 2 of each" in said
    root = pictures.parent / "runs" / "imported"
    found = stored(root)
    for number, text in enumerate(PROMPTS):
        assert np.array_equal(found[text, 0], picture(number))
    assert np.array_equal(found[PROMPTS[2], 1], picture(5))
    assert found[PROMPTS[1], 1].startswith("damaged: ")
    assert found["a lost picture", 0] == "the import names a picture that is not there"
    with catalog.open_run(root) as con:
        assert con.sql("SELECT DISTINCT licence FROM images").fetchall() == [("CC0-1.0",)]
        assert con.sql("SELECT DISTINCT category FROM kept WHERE text_clean <> 'a lost picture'").fetchall() == [
            ("mine",)
        ]
        scored = con.sql("SELECT scorer, count(DISTINCT image_id) FROM scores GROUP BY 1 ORDER BY 1").fetchall()
        assert scored == [("technical", 5), ("text", 2)]  # the damaged one and the lost ones have no pixels
    card = (root / "dataset" / "README.md").read_text("utf-8")
    assert "CC0-1.0" in card
    published = pa.concat_tables(pq.read_table(path) for path in sorted((root / "dataset" / "data").glob("*.parquet")))
    for row in published.to_pylist():
        if row["image"] is not None:
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert np.array_equal(np.asarray(image), found[row["text"], row["take"]])


def test_with_a_run_its_prompts_get_the_pictures_and_its_own_stay(copy: Path) -> None:
    with catalog.open_run(copy) as con:
        before = con.sql("SELECT prompt_id, text_clean FROM kept ORDER BY 1").fetchall()
        ((n_images,),) = con.sql("SELECT count(*) FROM images").fetchall()
    data = [{"bytes": _png(number), "path": None} for number in range(2)]
    chosen = [prompt for prompt, _ in before[:2]]
    pq.write_table(pa.table({"image": data, "prompt_id": chosen}), copy.parent / "set.parquet")
    options = Import(licence="CC0-1.0")
    params = import_images.params_of_run(str(copy.parent / "set.parquet"), options, copy, ["scorers={technical = {}}"])
    raw = params.raw()
    raw["select"]["gates"] = {}
    prepare(copy, raw, "import")
    with Lock(copy) as lock:
        pipeline.make_all(copy, lock.epoch)
    found = stored(copy)
    assert len(found) == len(before)
    for number, (_, text) in enumerate(before):
        if number < 2:
            assert np.array_equal(found[text, 0], picture(number))
        else:
            assert found[text, 0] == "not in the import"
    with catalog.open_run(copy) as con:  # pictures are facts
        assert con.sql("SELECT count(*) FROM images").fetchall() == [(n_images + len(before),)]


def test_prompts_that_a_run_does_not_have_are_counted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with catalog.open_run(copy) as con:
        ((known,),) = con.sql("SELECT prompt_id FROM kept LIMIT 1").fetchall()
    path = copy.parent / "set.parquet"
    pq.write_table(pa.table({"image": [_png(0)] * 3, "prompt_id": [known, "0" * 32, "1" * 32]}), path)
    import_images._tell_strangers(read_set(str(path)), copy)
    assert capsys.readouterr().out.startswith("2 prompts are none that")


def _png(number: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(picture(number)).save(sink, "PNG")
    return sink.getvalue()


def test_prompt_ids_alone_need_a_run(tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"image": [_png(0)], "prompt_id": [records.prompt_id("a lake")]})
    pq.write_table(table, tmp_path / "set.parquet")
    code, _, said = ask("import-images", "set.parquet", "--licence", "CC0-1.0")
    assert code == 2
    assert "give --run of the run that has these prompts" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["nothing", "--licence", "x"], 1, "nothing: cannot be read"),
        (["my pictures"], 2, "--licence"),
        (["my pictures", "--licence", "x", "--prompts", "words"], 1, "--prompts asks for 'words'"),
        (["my pictures", "--licence", "x", "--recipe", "imporded"], 2, "did you mean 'imported'"),
        (["my pictures", "--licence", "x", "--run", "runs/none"], 2, "no run here"),
        (["my pictures", "--licence", "x", "--out", "my pictures/run"], 2, "lies in my pictures, which is imported"),
        ([".", "--licence", "x"], 2, "lies in ., which is imported"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    given: list[str], code: int, said: str, pictures: Path, ask: Ask
) -> None:
    found, _, errors = ask("import-images", *given)
    assert (found, said in errors) == (code, True), errors
    assert not (pictures.parent / "runs").exists()


def test_the_import_has_its_prompts_once_and_every_one_is_wanted(pictures: Path) -> None:
    params = import_images.params_of_own(str(pictures), Import(licence="CC0-1.0"), "imported", None, [])
    raw = params.raw()
    assert raw["render"] == {"takes": 2}
    assert set(raw["select"]["quota"].values()) == {"all"}
    (source,) = raw["sources"]
    lines = Path(source["paths"][0]).read_text("utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == [*PROMPTS, "a lost picture"]
    assert source["paths"] == ["runs/imported.prompts.jsonl"]  # outside the run folder: a purge leaves no copy in it


def test_a_setting_of_the_person_comes_last(pictures: Path) -> None:
    settings = ["render.takes=1", "select.quota.text_rendering=1"]
    raw = import_images.params_of_own(str(pictures), Import(licence="x"), "imported", "runs/mine", settings).raw()
    assert raw["render"]["takes"] == 1
    assert raw["select"]["quota"]["text_rendering"] == 1


@given(
    st.recursive(
        st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_written_as_toml_is_read_back(value: Any) -> None:
    assert tomllib.loads(f"value = {import_images.toml(value)}") == {"value": value}
