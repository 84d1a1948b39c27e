"""respond on a tiny random FLUX: which prompts, which rows, nothing twice, word swaps once a picture has been read."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from promptforge import catalog
from promptforge.errors import ConfigError
from promptforge.lock import Lock
from promptforge.models.diffusion.response import METRICS, ResponseSettings
from promptforge.schema import arrow_schema
from promptforge.stages import pipeline, respond
from promptforge.stages.run import open_run, prepare
from promptforge.stages.score import wanted_scores

SETTINGS = {"sample": 1.0, "timesteps": [0.0, 0.5], "noises": 1, "shuffles": 1, "nonvisual": 2, "clauses": 2}


def raw_of(tiny, teacher, **settings):
    """Two prompts an axis; the text scorer is named, so that its readings count."""
    raw = tiny()
    raw["select"] = {"quota": {"image_quality": 2, "semantic_understanding": 2, "text_rendering": 2}}
    raw["regime"] = teacher
    raw["scorers"] = {"text": {}}
    raw["response"] = {**SETTINGS, "word_swap_px": 64, **settings}
    return raw


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    from promptforge.models.torch_setup import load_torch
    from tests.tiny_models.pipelines import tiny_flux

    torch = load_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {
        "teacher": "diffusers",
        "model": str(tiny_flux(tmp_path_factory.mktemp("flux"))),
        "dtype": "fp32",
        "size": 64,
        "steps": 2,
        "max_sequence_length": 32,
        "licence": "none, for tests",
    }
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def planned(tmp_path_factory, tiny, teacher):
    """A run with its pictures, and nothing measured."""
    root = tmp_path_factory.mktemp("respond") / "run"
    prepare(root, raw_of(tiny, teacher), "test")
    with Lock(root):
        for shard in range(pipeline.text_shards(root)):
            pipeline.make_text(root, shard)
        pipeline.make_dedup(root)
        pipeline.make_plan(root)
        pipeline.make_render(root, 0, 1)
    return root


@pytest.fixture
def root(planned, tmp_path):
    import shutil

    return Path(shutil.copytree(planned, tmp_path / "run"))


def commits_of(run):
    return [*pipeline._planned(run), *run.store.commits("respond")]


def rows_of(run):
    with catalog.connect(run.store, run.store.commits("respond")) as con:
        return con.sql("SELECT * FROM prompt_scores ORDER BY prompt_id, scorer, metric").to_arrow_table().to_pylist()


def read_by_hand(run, box):
    """Commit a reading of every picture with text to be drawn, as the stage score would for its scorer."""
    with catalog.connect(run.store, [*pipeline._planned(run), *run.store.commits("render")]) as con:
        wanted = con.sql(f"FROM ({wanted_scores(run.parts.scorers)})").fetchall()
    lines = [] if box is None else [{"text": "OPEN", "confidence": 0.9, "box": box}]
    rows = [
        {
            "image_id": image,
            "scorer": scorer,
            "digest": digest,
            "metric": "reading",
            "value": None,
            "detail": json.dumps({"lines": lines, "n_looks": 1}),
        }
        for image, scorer, digest in wanted
    ]
    run.store.commit("score", "b00000", "0" * 64, {"scores": pa.Table.from_pylist(rows, schema=arrow_schema("scores"))})
    return len(rows)


@pytest.mark.models
class TestRespond:
    def test_every_wanted_prompt_is_measured_once(self, root):
        tally = pipeline.make_respond(root, 0, 1)
        run = open_run(root)
        rows = rows_of(run)
        assert tally.rows == 6
        assert {row["scorer"] for row in rows} == {"response"}
        assert sorted(row["metric"] for row in rows) == sorted([*METRICS] * 6)
        assert not any(row["validated"] for row in rows)
        assert all(row["value"] > 0 for row in rows if row["metric"] == "response")
        again = pipeline.make_respond(root, 0, 1)
        assert (again.done, again.skipped) == (0, 1)
        assert rows_of(run) == rows

    def test_a_new_setting_is_measured_beside_the_old_rows(self, root, tiny, teacher):
        pipeline.make_respond(root, 0, 1)
        before = rows_of(open_run(root))
        prepare(root, raw_of(tiny, teacher, reference="a grey wall"), "test")
        pipeline.make_respond(root, 0, 1)
        after = rows_of(open_run(root))
        assert len(after) == 2 * len(before)
        assert [row for row in after if row in before] == before

    def test_two_ranks_share_the_prompts_and_give_the_same_rows(self, root, planned, tmp_path):
        import shutil

        other = Path(shutil.copytree(planned, tmp_path / "other"))
        pipeline.make_respond(root, 0, 1)
        n = [pipeline.make_respond(other, rank, 2).rows for rank in (0, 1)]
        assert sum(n) == 6
        assert rows_of(open_run(other)) == rows_of(open_run(root))

    def test_a_word_is_swapped_once_the_picture_has_been_read(self, root):
        pipeline.make_respond(root, 0, 1)
        run = open_run(root)
        assert read_by_hand(run, [[8, 8], [40, 8], [40, 24], [8, 24]]) == 2
        todo = respond.missing(run, commits_of(run))
        assert [list(row["digests"]) for row in todo] == [["word_swap"]] * 2
        pipeline.make_respond(root, 0, 1)
        swaps = [row for row in rows_of(run) if row["scorer"] == "word_swap"]
        assert len(swaps) == 2
        for row in swaps:
            assert row["value"] > 0
            assert json.loads(row["detail"])["swapped"]
        assert respond.missing(run, commits_of(run)) == []

    def test_a_picture_without_text_in_it_has_no_word_swap(self, root):
        run = open_run(root)
        read_by_hand(run, None)
        assert {name for row in respond.missing(run, commits_of(run)) for name in row["digests"]} == {"response"}

    def test_small_pictures_have_no_word_swap(self, root, tiny, teacher):
        prepare(root, raw_of(tiny, teacher, word_swap_px=1024), "test")
        run = open_run(root)
        read_by_hand(run, [[8, 8], [40, 8], [40, 24], [8, 24]])
        assert {name for row in respond.missing(run, commits_of(run)) for name in row["digests"]} == {"response"}

    def test_a_smaller_sample_is_part_of_a_larger_one_and_that_of_render(self, root, tiny, teacher):
        found = {}
        for share in (0.4, 1.0):
            raw = raw_of(tiny, teacher, sample=share) | {"render": {"sample": 0.4}}
            run = prepare(root, raw, "test")
            pipeline.make_plan(root)
            found[share] = {row["prompt_id"] for row in respond.missing(run, commits_of(run))}
        with catalog.connect(run.store, pipeline._planned(run)) as con:
            drawn = {prompt for (prompt,) in con.sql("SELECT prompt_id FROM render_plan").fetchall()}
        assert set() < found[0.4] < found[1.0]
        assert drawn == found[0.4]


def test_a_teacher_without_velocities_is_refused(tmp_path, tiny):
    with pytest.raises(ConfigError, match="response: teacher 'canvas' predicts no velocity; take diffusers"):
        prepare(tmp_path / "run", tiny() | {"response": SETTINGS}, "test")
    assert not (tmp_path / "run").exists()


def test_wrong_settings_are_refused_before_any_work(tmp_path, tiny):
    with pytest.raises(ConfigError, match=r"response\.sampel: no such field; did you mean 'sample'"):
        prepare(tmp_path / "run", tiny() | {"response": {"sampel": 0.1}}, "test")


def test_settings_are_closed_and_bounded():
    with pytest.raises(ValueError, match="timesteps"):
        ResponseSettings(timesteps=(1.0,))
    with pytest.raises(ValueError, match="sampel"):
        ResponseSettings.model_validate({"sampel": 0.1})


def test_a_reading_gives_upright_boxes():
    """A tilted box: x from 1 to 6, y from 2 to 9."""
    reading = json.dumps({"lines": [{"text": "a", "box": [[2, 2], [6, 3], [5, 9], [1, 8]]}, {"text": "b"}]})
    assert respond._boxes(reading) == ((1, 2, 6, 9),)
