"""One recipe with every part, through Prefect, against facts worked out beside it."""

import hashlib
import io
import itertools
import json
from collections import Counter

import duckdb
import numpy as np
import pytest
from PIL import Image

from promptforge.cli import answer
from promptforge.recipe import override

from .runs import LICENCE, OWN, PARENTS, command, dataset, drive, recipe_of
from .tiny_writer import parsed, seen

pytestmark = pytest.mark.models

NOT_KEPT = {
    "A quiet LAKE, at dawn!": "exact_duplicate",
    "write an essay about thrift": "not_visual",
    "a battle with gore": "unsafe_violence",
    "a sign with nothing in quotes": "no_expected_text",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, models, writer):
    """Root, recipe, what the command said, and what the server had been asked by then."""
    root = tmp_path_factory.mktemp("everything") / "run"
    raw = recipe_of(models, writer)
    done = command(root, raw)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, raw, done, writer.asked(), writer.pictures()


@pytest.fixture(scope="module")
def con(made):
    """Plain DuckDB over tables.sql, as a person opens it."""
    found = duckdb.connect()
    found.execute((made[0] / "tables.sql").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def published(made):
    """Rows of data/, as `datasets` reads them, pictures decoded."""
    import datasets

    found = datasets.load_dataset(str(made[0] / "dataset"), name="default", cache_dir=str(made[0].parent / "cache"))
    return [row for split in found.values() for row in split]


def column(con, query):
    return [value for (value,) in con.execute(query).fetchall()]


def pixels_of(con):
    """image_id -> RGB of every picture of the folder, by Pillow."""
    return {
        name: np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        for name, encoded in con.execute("SELECT image_id, encoded FROM pixels").fetchall()
    }


def test_every_row_of_every_source_is_told_of(made, con):
    # 10 of one's own, 2 x 3 of the grammar, 6 invented, 2 rewritten
    assert Counter(column(con, "SELECT source FROM prompts")) == {
        "own": 10,
        "grammar-semantic_understanding": 3,
        "grammar-text_rendering": 3,
        "llm-semantic_understanding": 6,
        "llm-rewrite": 2,
    }
    lost = dict(con.execute("SELECT text, reason FROM rejects WHERE text IS NOT NULL").fetchall())
    assert lost == NOT_KEPT
    assert column(con, "SELECT reason FROM rejects WHERE text IS NULL") == ["empty"]
    own = set(column(con, "SELECT text FROM accepted WHERE source = 'own'"))
    assert own == {row["text"] for row in OWN} - NOT_KEPT.keys() - {""}
    assert column(con, "SELECT text FROM accepted WHERE source = 'llm-rewrite' ORDER BY 1") == [
        f"{parent}, in soft light of a late afternoon" for parent in sorted(PARENTS)
    ]
    assert column(con, "SELECT count(*) FROM accepted") == [19]  # 24 rows less the 4 above and the empty one


def test_each_stage_has_a_row_for_each_thing_it_is_about(con):
    # 19 prompts, two takes each
    for table, n in {"render_plan": 38, "images": 38, "pixels": 38, "latents": 38, "selection": 19}.items():
        assert column(con, f"SELECT count(*) FROM {table}") == [n], table
    # two embeddings of each prompt: T5's and the pooled CLIP's, whatever the number of takes
    assert con.execute(
        "SELECT name, dtype, shape, count(*), count(DISTINCT prompt_id) FROM embeddings GROUP BY ALL ORDER BY 1"
    ).fetchall() == [
        ("pooled_prompt_embeds", "float32", [32], 19, 19),
        ("prompt_embeds", "float32", [32, 32], 19, 19),
    ]
    n_with_questions = column(con, "SELECT count(DISTINCT prompt_id) FROM questions")[0]
    of_pictures = dict.fromkeys(("technical", "aesthetic", "alignment", "second", "likeness"), 38)
    asked = dict.fromkeys(("detector", "questions"), 2 * n_with_questions)
    with_text = 2 * column(con, "SELECT count(*) FROM accepted WHERE len(expected_text) > 0")[0]
    assert with_text == 2 * 4  # three of the grammar and OPEN
    counted = "SELECT scorer, count(DISTINCT image_id) FROM scores_in_force GROUP BY 1"
    assert dict(con.execute(counted).fetchall()) == of_pictures | asked | {"text": with_text}
    # the response to half of the prompts, by the same draw as a render sample
    responses = "SELECT metric, count(*), bool_or(validated) FROM prompt_scores GROUP BY 1"
    counts = {metric: n for metric, n, validated in con.execute(responses).fetchall() if not validated}
    assert counts.keys() == {"response", "shuffled_percentile", "nonvisual_percentile", "clause_min"}
    assert len(set(counts.values())) == 1
    assert 3 <= counts["response"] <= 16


def test_the_model_was_asked_once_for_each_thing(made, con):
    asked = made[3]
    answered = con.execute("SELECT task, count(*) FROM responses WHERE error IS NULL GROUP BY 1").fetchall()
    assert dict(answered) == asked
    assert asked["invent"] == 4  # cells color and spatial, 3 prompts each, 2 a request
    assert asked["rewrite"] == 2
    # every row but the empty one and the one without text in quotes, each text once
    assert asked["judge"] == 22
    unknown = column(con, "SELECT count(*) FROM kept WHERE json_extract(scene, '$.unknown[0]') IS NOT NULL")
    assert (
        asked["parse"] == unknown[0] == len(column(con, "SELECT DISTINCT prompt_id FROM questions WHERE origin='llm'"))
    )
    usage = "SELECT sum(n_requests), sum(n_tokens_in), sum(n_tokens_out), sum(price) FROM llm_cost"
    n = sum(asked.values())
    # 100 tokens in and 10 out of each request, at 1 and 10 a million
    assert con.execute(usage).fetchone() == (n, 100 * n, 10 * n, pytest.approx(n * (100 * 1.0 + 10 * 10.0) / 1e6))


def test_the_model_saw_the_pictures_that_are_stored(made, con):
    shown = {hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in pixels_of(con).values()}
    assert set(made[4]) <= shown
    assert len(made[4]) == made[3]["answer"]


def test_questions_are_those_that_the_model_parsed_and_count_as_it_answered(con):
    rows = con.execute(
        "SELECT p.prompt_id, p.text_clean, q.origin, q.key, q.text, q.requires FROM questions q"
        " JOIN kept p USING (prompt_id) ORDER BY p.prompt_id, q.place"
    ).fetchall()
    asked = {name: list(some) for name, some in itertools.groupby(rows, key=lambda row: row[0])}
    for _, text, origin, *_ in rows:
        assert origin == ("llm" if any(w in text for w in ("zorgle", "number", "afternoon")) else "scene"), text
    by_model = {text: question for _, text, origin, _, question, requires in rows if origin == "llm" and not requires}
    assert by_model == {text: parsed(text)[0]["text"] for text in by_model}
    scores = con.execute(
        "SELECT image_id, prompt_id, value FROM scores_in_force JOIN images USING (image_id)"
        " WHERE scorer = 'questions' AND metric = 'score'"
    ).fetchall()
    pixels = pixels_of(con)
    for image, prompt, value in scores:
        digest = hashlib.sha256(pixels[image].tobytes()).hexdigest()
        counted: dict[str, bool] = {}
        for *_, key, text, requires in asked[prompt]:
            counted[key] = seen(digest, text) == "yes" and all(counted[needed] for needed in requires)
        assert value == pytest.approx(sum(counted.values()) / len(counted))
    assert len({value for *_, value in scores}) > 2


def test_pictures_are_those_of_the_pipelines_own_call(models, published):
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(models.flux)
    pipe.set_progress_bar_config(disable=True)
    for module in (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = tensor.data.clone()  # mapped weights lie unaligned, where other kernels run
    for row in published[:4]:
        own = pipe(
            row["text"],
            height=64,
            width=64,
            num_inference_steps=2,
            guidance_scale=3.5,
            max_sequence_length=32,
            generator=torch.Generator("cpu").manual_seed(row["seed"]),
        ).images[0]
        assert np.array_equal(np.asarray(own), np.asarray(row["image"].convert("RGB")))


def test_published_rows_say_licence_scores_and_takes(published, con):
    assert len(published) == 19
    assert {row["teacher_licence"] for row in published} == {LICENCE}
    assert {row["n_takes"] for row in published} == {2}
    assert all(row["text"].strip() for row in published)
    for name in ("render_aesthetic", "alignment_clip_score", "second_cosine", "technical_blur", "likeness_phash"):
        assert all(row[name] is not None for row in published), name
    with_text = {row["text"] for row in published if row["expected_text"]}
    assert {row["text"] for row in published if row["text_verdict"] is not None} == with_text
    stored = dict(
        con.execute(
            "SELECT image_id, value FROM scores_in_force WHERE scorer = 'alignment' AND metric = 'cosine'"
        ).fetchall()
    )
    assert {row["image_id"]: row["alignment_cosine"] for row in published}.items() <= stored.items()
    assert [row["alignment_cosine"] for row in published] != [row["second_cosine"] for row in published]


def test_the_aesthetic_mark_is_the_heads_on_the_published_embedding(models, published):
    """Layer by layer in NumPy, on the embedding that likeness stores in float16."""
    import base64

    from safetensors.numpy import load_file

    tensors = load_file(models.head)
    for row in published:
        at = np.frombuffer(base64.b64decode(row["likeness_embedding"]), "<f2").astype(np.float64)
        assert np.linalg.norm(at) == pytest.approx(1, abs=1e-2)
        for place in (0, 2, 4, 6, 7):
            at = tensors[f"layers.{place}.weight"].astype(np.float64) @ at + tensors[f"layers.{place}.bias"]
        assert row["render_aesthetic"] == pytest.approx(at[0], abs=1e-2)


def test_the_card_names_licence_teacher_and_sources(made):
    card = (made[0] / "dataset" / "README.md").read_text("utf-8")
    manifest = json.loads((made[0] / "dataset" / "manifest.json").read_text("utf-8"))
    for said in (LICENCE, "CC0-1.0", "llm-rewrite"):
        assert said in card
    assert manifest["backends"]["teacher"]["licence"] == LICENCE
    roles = {part["name"]: part["role"] for part in manifest["backends"]["scorers"]}
    assert [name for name, role in roles.items() if role == "evaluate"] == ["second"]
    for path in (made[0] / "dataset").rglob("*"):  # nothing of this machine, nor of where the model was served
        if path.suffix in {".md", ".json"}:
            assert str(made[0].parent) not in path.read_text("utf-8")
            assert "127.0.0.1" not in path.read_text("utf-8")


def test_verify_is_clean(made, capsys):
    assert answer(["verify", "--run", str(made[0])]) == 0, capsys.readouterr()


def test_every_table_and_view_opens_in_plain_duckdb(con):
    names = column(con, "SELECT table_name FROM information_schema.tables")
    assert {"responses", "embeddings", "latents", "prompt_scores", "lookalikes", "llm_cost", "questions"} <= set(names)
    for name in names:
        con.execute(f"SELECT * FROM {name}").fetchall()


def test_a_second_run_does_nothing_and_asks_nothing(made, writer):
    root, raw, *_ = made
    before, heads = dataset(root), sorted(path.name for path in (root / "heads").iterdir())
    asked = writer.asked()
    tallies = drive(root, raw)
    assert {stage: tally.done for stage, tally in tallies.items() if tally.done} == {}
    assert writer.asked() == asked
    assert dataset(root) == before
    assert sorted(path.name for path in (root / "heads").iterdir()) == heads


def test_a_new_address_new_patience_and_new_prices_ask_and_make_nothing(made, writer):
    root, raw, *_ = made
    before, asked = dataset(root), writer.asked()
    settings = ["base_url='http://127.0.0.1:9/v1'", "concurrency=7", "price_in=5.0", "answer_s=50.0"]
    tallies = drive(root, override(raw, [f"llm.writer.{setting}" for setting in settings]))
    assert {stage: tally.done for stage, tally in tallies.items() if tally.done} == {}
    assert writer.asked() == asked
    assert dataset(root) == before
