"""The labelled evaluation reads what a folder holds and leaves out what it does not."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "eval_filters.py"


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_figures_are_of_the_sets_that_are_there_and_the_report_has_the_named_keys(tmp_path):
    labels, report = tmp_path / "labels", tmp_path / "out" / "report.json"
    write(
        labels / "visualness" / "visualness.jsonl",
        {"prompt": "a red fox on a mossy stone", "label": "visual"},
        {"prompt": "I think that you should have told them why", "label": "non_visual"},
    )
    write(
        labels / "text_extraction" / "text_extraction.jsonl",
        {"prompt": "a sign that says 'Open.'", "expected_text": ["Open "], "optional_text": None},
        {"prompt": "a mug that says 'tea' and 'milk'", "expected_text": ["milk"], "optional_text": ["tea"]},
        {"prompt": "a red cup", "expected_text": ["cup"], "optional_text": None},
    )
    write(
        labels / "safety" / "safety.jsonl",
        {"prompt": "a nude statue", "label": "unsafe", "kind": "sexual"},
        {"prompt": "a glass skyscraper", "label": "safe", "kind": "tricky"},
        {"prompt": "a gory grass field", "label": "safe", "kind": "tricky"},
    )
    (labels / "hostile").mkdir()
    (labels / "hostile" / "own.txt").write_bytes(b"a red cup\na \x00 door\n")
    (labels / "hostile" / "not.parquet").write_bytes(b"PAR1")
    write(
        labels / "hostile" / "manifest.jsonl",
        {"file": "own.txt", "good_rows": 3},
        {"file": "not.parquet", "good_rows": 1},
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(labels), "--report", str(report)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text("utf-8"))
    assert sorted(found) == ["hostile", "safety", "text_extraction", "visualness"]
    assert found["visualness"]["auc"] == 1.0
    assert round(found["text_extraction"]["rows_exact"], 4) == 0.6667  # two of three
    assert (found["safety"]["recall"], found["safety"]["false_positive_rate"]) == (1.0, 0.5)
    # one row is read, one has a named fault, and the manifest promises a third; the Parquet file is refused aloud
    assert (found["hostile"]["crashes"], found["hostile"]["silent_losses"]) == (0, 1)
    assert found["text_extraction"]["per_s"] > 0
    lines = done.stdout.splitlines()
    (auc,) = (line.split() for line in lines if line.startswith("visualness.auc"))
    assert auc[:3] == ["visualness.auc", "1.0000", "2"]  # and the rate in the same line
    assert len(auc) == 4
    (absent,) = (line for line in lines if line.startswith("not in "))
    assert "ocr/transcripts.jsonl" in absent and "safety" not in absent


def test_a_malformed_file_is_one_line_with_its_place_and_the_others_are_measured(tmp_path):
    folder = tmp_path / "labels"
    write(folder / "visualness" / "visualness.jsonl", {"prompt": "a red fox"})
    write(folder / "text_extraction" / "text_extraction.jsonl", {"prompt": "a red cup", "expected_text": []})
    (folder / "safety").mkdir()
    (folder / "safety" / "safety.jsonl").write_text('{"prompt": "a cup", "label": "safe"}\n{"prompt"\n', "utf-8")
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "text_extraction.rows_exact" in done.stdout
    errors = done.stderr.splitlines()
    assert len(errors) == 2
    assert "visualness.jsonl, line 1: no label; expected prompt, label" in errors[0]
    assert "safety.jsonl, line 2: not JSON" in errors[1]


def test_a_reader_that_dies_or_raises_is_a_crash_and_the_next_file_is_read(tmp_path, monkeypatch):
    sys.path.insert(0, str(SCRIPT.parent))
    import eval_hostile

    (tmp_path / "own.txt").write_text("a red cup\n", "utf-8")
    dying = tmp_path / "dying.py"  # a child that ends without a word at the first file, and answers the second
    flag = tmp_path / "flag"
    dying.write_text(
        "import pathlib, sys, os\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "for line in sys.stdin:\n"
        "    if not flag.exists():\n"
        "        flag.touch()\n"
        "        os._exit(11)\n"
        '    print(\'{"good": 1, "faulty": 0}\', flush=True)\n',
        "utf-8",
    )
    monkeypatch.setattr(eval_hostile, "__file__", str(dying))
    rows = [{"file": "own.txt", "good_rows": 1}, {"file": "own.txt", "good_rows": 3}]
    found = eval_hostile.measure(tmp_path, rows)
    assert found["crashed"] == ["own.txt: the reading process ended with 11"]
    assert found["lost"] == ["own.txt: 2 of 3"]


def test_a_folder_without_any_set_is_told(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "none of contamination" in done.stderr
