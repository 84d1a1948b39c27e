"""Of a row that may never be shown, reports, views and commands give hash and reason alone."""

import json

from promptforge import catalog
from promptforge.commands import lookup
from promptforge.lock import Lock
from promptforge.records import prompt_id
from promptforge.report.rejects import write_rejects
from promptforge.stages.coverage import rows
from promptforge.stages.pipeline import make_all
from promptforge.stages.run import prepare

HIDDEN = "sensual teen"


def test_neither_report_nor_view_nor_why_shows_the_text(tmp_path, capsys):
    source = tmp_path / "own.jsonl"
    lines = [{"text": text, "category": text[-3:]} for text in (HIDDEN, "a nude statue", "a red cup")]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    raw = {
        "name": "withheld",
        "sources": [{"kind": "files", "paths": [str(source)], "axis": "image_quality"}],
        "filters": {"safety": {}, "characters": {}},
        "regime": {"teacher": "canvas", "size": 128},
        "render": {"sample": 0},
        "select": {"quota": {"image_quality": 1, "semantic_understanding": 0, "text_rendering": 0}},
    }
    root = tmp_path / "run"
    prepare(root, raw, "test")
    with Lock(root) as lock:
        make_all(root, lock.epoch)
    name = prompt_id(HIDDEN)
    with catalog.open_run(root) as con:
        report = write_rejects(root, con).read_text("utf-8")
        assert con.sql("SELECT text, reason, detail FROM rejects ORDER BY reason").fetchall() == [
            ("a nude statue", "unsafe_sexual", "nude"),
            (None, "unsafe_sexual_minors", None),
        ]
        cells = con.sql("SELECT prompt_id, category FROM cells ORDER BY category DESC").fetchall()
        assert cells == [(prompt_id("a nude statue"), "tue"), (prompt_id("a red cup"), "cup")]
        assert rows.thin_cells(con, rows.ACCEPTED, 1) == [("image_quality", "tue", 0)]
    capsys.readouterr()
    lookup.why(root, name)
    said = capsys.readouterr().out
    assert f"- `{name}`, withheld\n" in report
    assert "a nude statue" in report
    assert name in said
    assert "unsafe_sexual_minors" in said
    for word in HIDDEN.split():
        assert word not in report
        assert word not in said
