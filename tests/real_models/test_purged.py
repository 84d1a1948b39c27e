"""Purge where every real-model part has seen the text: nothing in the folder spells it, and nothing brings it back."""

import json
import re

import duckdb
import pyarrow.parquet as pq
import pytest

from promptforge import records
from promptforge.cli import answer
from promptforge.recipe import override
from promptforge.stages import labels
from promptforge.stages.verify import verify
from promptforge.store import Store

from .runs import dataset, drive, recipe_of

pytestmark = pytest.mark.models

OWN = 'a wooden sign that says "OPEN"'  # read from a file, asked about, drawn twice, measured, labelled
UNKNOWN = "a zorgle on a green table"  # parsed by the language model
PAIRED = "a red apple on a table"  # drawn from the same noise as its partner, so that the two look alike
PARTNER = "a green apple on a table"
REWRITTEN = "a red fox in the snow, in soft light of a late afternoon"  # written by it


@pytest.fixture(scope="module")
def made(tmp_path_factory, models, writer):
    root = tmp_path_factory.mktemp("purged") / "run"
    raw = override(recipe_of(models, writer), ["response.sample=1.0", "response.word_swap_px=64"])
    pair = root.parent / "pair.jsonl"
    pair.write_text("".join(json.dumps({"text": text, "pair_id": "p"}) + "\n" for text in (PAIRED, PARTNER)))
    raw["sources"].append({"kind": "files", "name": "pair", "paths": [str(pair)], "axis": "semantic_understanding"})
    drive(root, raw)
    return root, raw


def spelled(value):
    """Letters and digits alone: quotes are escaped in JSON, and white space may be any."""
    return re.sub(r"[^a-z0-9]+", "", value.lower())


def holding(root, text):
    """Files that hold the text, as bytes or as a value of a table, at any depth."""
    needle, found = spelled(text), set()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        contents = [spelled(path.read_bytes().decode("latin-1"))]
        if path.suffix == ".parquet":
            contents += [spelled(repr(row)) for row in pq.read_table(path).to_pylist()]
        if any(needle in content for content in contents):
            found.add(path.relative_to(root).parts[0])
    return found


def naming(root, prompt, images):
    """Table -> rows of any record that name the prompt or a picture of it."""
    store, found = Store(root), {}
    for commit in store.all_commits():
        for item in commit.files:
            for row in store.read(item).to_pylist():
                ids = {row.get(name) for name in ("prompt_id", "image_id", "other_id")}
                if ids & {prompt, *images} or str(row.get("subject", ""))[:32] == prompt:
                    found[item.table] = found.get(item.table, 0) + 1
    return found


def test_purged_texts_are_nowhere_and_stay_away(made, writer):
    root, raw = made
    texts = (OWN, UNKNOWN, PAIRED, REWRITTEN)
    prompts = [records.prompt_id(text) for text in texts]
    with duckdb.connect() as con:
        con.execute((root / "tables.sql").read_text("utf-8"))
        drawn = con.execute("SELECT image_id, prompt_id FROM images ORDER BY 1").fetchall()
    images = {prompt: [name for name, of in drawn if of == prompt] for prompt in prompts}
    other = next(name for name, of in drawn if of not in prompts)
    said = [{"image_id": name, "question": "quality", "label": "yes"} for some in images.values() for name in some]
    labels.save(Store(root), [*said, {"image_id": other, "question": "quality", "label": "no"}], "page")
    facts = {"prompts", "questions", "images", "pixels", "latents", "embeddings", "scores", "prompt_scores", "labels"}
    for text, prompt in zip(texts, prompts, strict=True):
        assert len(images[prompt]) == 2
        before = naming(root, prompt, images[prompt])
        assert facts | {"responses", "render_plan", "selection", "published"} <= before.keys()
        assert ("lookalikes" in before) is (text == PAIRED)
        assert {"prompts", "dataset"} <= holding(root, text)
    assert {"responses", "prompts"} <= holding(root, REWRITTEN)
    n_asked = sum(writer.asked().values())
    assert answer(["purge", *prompts, "--reason", "on_request", "--run", str(root)]) == 0
    after = dataset(root)
    drive(root, raw)
    assert sum(writer.asked().values()) == n_asked
    assert dataset(root) == after
    for text, prompt in zip(texts, prompts, strict=True):
        assert holding(root, text) == set()
        assert naming(root, prompt, images[prompt]) == {"tombstones": 1}
    assert naming(root, "", [other])["labels"] == 1
    assert verify(root) == []
