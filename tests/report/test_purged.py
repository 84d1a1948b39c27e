"""report.html over the life of a run: what purge takes out is in it no more; bounds by style find their pictures."""

import json
import re

import pytest

from promptforge import catalog
from promptforge.commands.decide import purge_texts
from promptforge.lock import Lock
from promptforge.records import prompt_id
from promptforge.report import distributions
from promptforge.report.page import REPORT, write_report
from promptforge.report.pictures import make_tables
from promptforge.stages.pipeline import make_all
from promptforge.stages.purge import purge
from promptforge.stages.run import prepare

GONE = "a yellow bicycle in the snow"
TEXTS = [GONE, "a red cup, oil painting", "a green lamp, pencil drawing", "two blue chairs"]


def made(tmp_path, select):
    source = tmp_path / "own.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    sharpness = {"scorer": "technical", "metric": "sharpness", "by": "style"}
    raw = {
        "name": "own",
        "sources": [{"kind": "files", "paths": [str(source)], "axis": "image_quality"}],
        "filters": {"characters": {}},
        "regime": {"teacher": "canvas", "size": 128},
        "scorers": {"technical": {}},
        "select": {
            "quota": {"image_quality": "all", "semantic_understanding": 0, "text_rendering": 0},
            "gates": {"sharp": {**sharpness, "min": {"painting": 1.0, "other": 2.0}}},
            **select,
        },
    }
    folder = tmp_path / "run"
    prepare(folder, raw, "test")
    with Lock(folder) as lock:
        make_all(folder, lock.epoch)
    return folder


@pytest.fixture
def root(tmp_path):
    return made(tmp_path, {})


def written(root) -> str:
    with catalog.open_run(root) as con:
        return write_report(root, con).read_text("utf-8")


def test_a_purged_text_leaves_the_report_with_its_picture(root) -> None:
    before = written(root)
    assert GONE in before
    pictures = set(re.findall(r'src="(data:image/webp[^"]+)" [^>]*alt="Take 1 of: a yellow', before))
    purge_texts(root, [prompt_id(GONE)], "takedown")
    after = (root / REPORT).read_text("utf-8")
    assert "bicycle" not in after
    assert len(pictures) == 1
    assert not any(each in after for each in pictures)
    assert after.count("<img") == before.count("<img") - 1 == len(TEXTS) - 1
    assert "takedown" in after


def test_a_purge_that_makes_no_report_leaves_none(root) -> None:
    written(root)
    purge(root, [prompt_id(GONE)], "takedown")
    assert not (root / REPORT).exists()


def test_a_bound_by_style_counts_pictures_of_that_style_alone(root) -> None:
    with catalog.open_run(root) as con:
        make_tables(con)
        found = [(one.key, one.limits, one.n) for one in distributions.gated(con)]
    assert found == [(None, [2.0], 3), ("painting", [1.0], 1)]


def test_a_named_cell_that_fell_short_is_said_first_of_all(tmp_path) -> None:
    root = made(tmp_path, {"cells": {"image_quality/any/any/painting": 3, "image_quality/any/any/drawing": 1}})
    page = written(root)
    warned = re.search(r'<div class="warn".*?</div>', page, re.DOTALL)
    assert warned is not None
    assert "Cell image_quality/any/any/painting fell short: 1 of 3." in warned[0]
    assert "drawing" not in warned[0].replace("drawings of", "")
    assert '<th scope="row">image_quality/any/any/drawing</th><td class="n">1</td><td class="n">1</td>' in page


def test_no_folder_of_this_machine_is_in_it(root) -> None:
    assert str(root.parent) not in written(root)
