"""Pictures whose text no reader can judge are counted by reason in the report, and none is called misread."""

import json

from promptforge import catalog
from promptforge.lock import Lock
from promptforge.report.rejects import write_rejects
from promptforge.stages.pipeline import make_all
from promptforge.stages.run import prepare

TEXTS = ['a sign that says "хлеб"', 'a board that says "школа"', 'a sign that says "θάλασσα"', 'a mug that says "TEA"']


def test_signs_in_unknown_letters_are_counted_by_script(tmp_path):
    source = tmp_path / "own.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    raw = {
        "name": "signs",
        "sources": [{"kind": "files", "paths": [str(source)], "axis": "text_rendering"}],
        "filters": {"expected_text": {}},
        "regime": {"teacher": "canvas", "size": 256, "mistake_rate": 0},
        "render": {"sample": 1.0, "takes": 1},
        "scorers": {"text": {}},
        "select": {"quota": {"image_quality": 0, "semantic_understanding": 0, "text_rendering": 4}},
    }
    root = tmp_path / "run"
    prepare(root, raw, "test")
    with Lock(root) as lock:
        make_all(root, lock.epoch)
    with catalog.open_run(root) as con:
        assert con.sql("SELECT verdict, count(*) FROM ocr_misreads GROUP BY ALL").fetchall() == [("unreadable", 3)]
        report = write_rejects(root, con).read_text("utf-8")
    table = report.split("## Pictures whose text could not be judged")[1]
    assert "| rapidocr does not know these Cyrillic letters | 2 |" in table
    assert "| rapidocr does not know these Greek letters | 1 |" in table
