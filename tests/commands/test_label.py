"""label and calibrate on a real run: sheet and page, the same sample again, what is refused, canvas only."""

import csv
import http.client
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from promptforge import catalog

Ask = Callable[..., tuple[int, str, str]]
CALL = ("label", "--n", "60", "--run", "runs/own")


def said(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        return con.sql(sql).fetchall()


def fill(root: Path, to: Path, label: Callable[[dict[str, str]], str]) -> int:
    with (root / "to-label.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with to.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "label": label(row)} for row in rows)
    return len(rows)


def test_a_sheet_is_asked_filled_and_measured(copy: Path, ask: Ask) -> None:
    code, out, _ = ask(*CALL, "--sheet")
    assert code == 0
    assert "--labels runs/own/to-label.csv" in out
    sample = said(copy, "SELECT * FROM label_sample ORDER BY ALL")
    n = fill(copy, copy / "anna.csv", lambda _: "y")
    assert len({(row[1], row[2]) for row in sample}) == n
    assert ask(*CALL, "--labels", "runs/own/anna.csv")[0] == 0
    assert said(copy, "SELECT count(*), any_value(rater), any_value(label) FROM labels") == [(n, "anna.csv", "yes")]
    assert said(copy, "SELECT * FROM label_sample ORDER BY ALL") == sample  # the same call, the same sample
    fill(copy, copy / "ben.csv", lambda row: "n" if row["question"] == "text" else "y")
    code, out, _ = ask(*CALL, "--labels", "runs/own/ben.csv", "--rater", "ben")
    assert code == 0
    assert re.search(r"anna.csv and ben both answered \d+ questions, \d differently", out)
    code, out, _ = ask("calibrate", "--run", "runs/own")
    assert code == 0
    assert "nothing is supported" in out
    assert "too few" in out
    assert "canvas" not in out
    assert not (copy / "thresholds.set").exists()


def test_gates_without_labels_are_named_in_one_line(copy: Path, ask: Ask) -> None:
    _, out, _ = ask("calibrate", "--run", "runs/own", "--gate", "not_black", "--gate", "text_reads")
    first, *others = out.splitlines()
    assert first == "no label yet, so nothing is said of not_black, text_reads; promptforge label draws a sample"
    assert not any("not_black" in line or "text_reads" in line for line in others)


def test_another_seed_is_another_sample_beside_the_first(copy: Path, ask: Ask) -> None:
    assert ask(*CALL, "--gate", "not_black", "--sheet")[0] == 0
    assert ask(*CALL, "--gate", "not_black", "--seed", "1", "--sheet")[0] == 0
    assert said(copy, "SELECT count(DISTINCT sample), count(DISTINCT gate) FROM label_sample") == [(2, 1)]


def test_ctrl_c_keeps_what_was_said_and_the_same_command_goes_on(
    copy: Path, start: Callable[..., "subprocess.Popen[str]"], ask: Ask
) -> None:
    def served() -> tuple["subprocess.Popen[str]", str, list[str]]:
        process = start(*CALL, "--rater", "Ann O'Neil", cwd=copy.parent.parent)
        assert process.stdout is not None
        before: list[str] = []
        for line in process.stdout:
            before.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://\S+", "".join(before))
        assert found, before
        return process, found.group(), before

    def ask_page(address: str, name: str, body: object = None) -> bytes:
        where = urlsplit(address)
        link = http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)
        link.request("GET" if body is None else "POST", where.path + name, body and json.dumps(body))
        answer = link.getresponse().read()
        link.close()
        return answer

    def stop(process: "subprocess.Popen[str]") -> str:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        out = process.stdout.read()
        process.stdout.close()
        assert process.wait(30) == 0
        return out

    process, address, _ = served()
    todo = json.loads(ask_page(address, "todo.json"))
    assert ask_page(address, todo[0]["image_id"])[:4] == b"RIFF"
    ask_page(address, "label", {"place": 0, "label": "no"})
    code, _, fault = ask(*CALL, "--rater", "Ann O'Neil")  # two under one name would be one who changes a mind
    assert code == 2
    assert "Ann O'Neil answers on another page now" in fault
    assert f"1 of {len(todo)} answered by Ann O'Neil" in stop(process)
    assert said(copy, "SELECT image_id, label, rater FROM labels") == [(todo[0]["image_id"], "no", "Ann O'Neil")]
    process, address, before = served()
    assert any(line.startswith(f"1 of {len(todo)} have an answer") for line in before)
    again = json.loads(ask_page(address, "todo.json"))
    assert [row["label"] for row in again] == ["no"] + [None] * (len(todo) - 1)
    assert [row["image_id"] for row in again] == [row["image_id"] for row in todo]
    ask_page(address, "label", {"place": 0, "label": "yes"})
    stop(process)
    assert said(copy, "SELECT label FROM labels") == [("yes",)]


def test_truth_is_called_canvas_only_wherever_it_is_printed(copy: Path, ask: Ask) -> None:
    code, out, _ = ask("calibrate", "--truth", "--run", "runs/own", "--precision", "0.5")
    assert code == 0
    gates = re.findall(r"^(\w+) \(canvas only\): ", out, re.M)
    assert set(gates) >= {"not_black", "not_flat", "text_reads"}
    assert said(copy, "SELECT count(*) FROM labels") == [(0,)]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (("label", "--gate", "not_blak"), r"no gate 'not_blak'; did you mean 'not_black'\?"),
        (("label", "--n", "0"), r"--n 0: expected 1 to"),
        (("label", "--n", "3"), r"give --n \d+ or more, or fewer gates"),
        (("label", "--question", "taste"), r"--question taste: expected quality, matches, text"),
        (("label", "--port", "99999"), r"--port 99999: expected 0 to 65535"),
        (("label", "--sheet", "--labels", "x.csv"), r"give one of them"),
        (("label", "--labels", "none.csv"), r"none.csv: cannot be read as CSV"),
        (("label", "--rater", "a\nb"), r"--rater .*expected a name"),
        (("calibrate", "--precision", "1"), r"--precision 1: expected a share from 0.5"),
        (("calibrate", "--gate", "x"), r"no gate 'x'"),
        (("calibrate", "--out", "no/where.set"), r"--out no/where.set: expected a file"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    here: Path, ask: Ask, given: tuple[str, ...], fault: str
) -> None:
    before = sorted(here.rglob("*"))
    code, _, err = ask(*given, "--run", "runs/own")
    assert code == 2
    assert re.search(fault, err), err
    assert sorted(here.rglob("*")) == before


def test_a_teacher_that_knows_nothing_has_no_truth(copy: Path, ask: Ask) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in (copy / "images").glob("*.parquet"):
        table = pq.read_table(path)
        place = table.schema.get_field_index("truth")
        pq.write_table(table.set_column(place, table.schema.field(place), pa.nulls(table.num_rows, pa.string())), path)
    code, _, err = ask("calibrate", "--truth", "--run", "runs/own")
    assert code == 2
    assert "--truth: the teacher of this run does not know what it drew" in err
    shutil.rmtree(copy)
