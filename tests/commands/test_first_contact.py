"""first-contact on the embedded teacher: prompts, sheet, labels, bounds, and a run that takes them."""

import contextlib
import csv
import json
import shlex
import shutil
from pathlib import Path

import duckdb
import pytest

from promptforge import recipe as recipes
from promptforge.cli import answer
from promptforge.commands.first_contact import THRESHOLDS
from promptforge.commands.label_sheet import SHEET, read_labels
from promptforge.errors import ConfigError

COMMAND = ["first-contact", "mini", "--set", "regime.size=256", "--set", "regime.mistake_rate=0.6"]
QUICK = [
    "--set",
    "scorers={technical={}}",
    "--set",
    "select.gates={not_blurred={scorer='technical',metric='blur',max=0.9},"
    "not_the_dullest={scorer='technical',metric='colourfulness',quantile=0.25,by='style'},"
    "sharp={where='technical.sharpness > 0.1'}}",
]


def sheet(root: Path) -> list[dict[str, str]]:
    with (root / SHEET).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("first") / "contact"
    with (root.parent / "said.txt").open("w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        assert answer([*COMMAND, *QUICK, "--no-page", "--precision", "0.8", "--out", str(root)]) == 0
    return root


def test_the_sheet_comes_with_the_whole_command_that_takes_it_back(drawn: Path) -> None:
    said = shlex.split((drawn.parent / "said.txt").read_text("utf-8").splitlines()[-1])
    wanted = [*COMMAND, *QUICK, "--out", str(drawn), "--precision", "0.8", "--labels", str(drawn / SHEET)]
    assert sorted(said[said.index("first-contact") :]) == sorted(wanted)


def test_labels_that_cannot_be_read_stop_it_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ["--labels", str(tmp_path / "none.csv"), "--out", str(tmp_path / "run")]
    assert answer([*COMMAND, *QUICK, *said]) == 2
    assert "none.csv: cannot be read as CSV" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_each_of_the_64_prompts_is_drawn_and_lies_on_the_sheet(drawn: Path) -> None:
    rows = sheet(drawn)
    assert len({row["image_id"] for row in rows}) == 64
    assert all((drawn / row["picture"]).read_bytes()[:4] == b"RIFF" for row in rows)
    assert {row["label"] for row in rows} == {""}


def test_a_filled_sheet_gives_bounds_that_a_run_takes(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(drawn, tmp_path / "copy"))
    rows = sheet(root)
    files = [str(path) for path in (root / "images").glob("*.parquet")]
    truth = dict(
        duckdb.sql(f"SELECT image_id, json_extract_string(truth, '$.mistake') FROM read_parquet({files})").fetchall()
    )
    for row in rows:
        row["label"] = "n" if truth[row["image_id"]] == "blur" else "Y"
    with (tmp_path / "said.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert answer([*COMMAND, *QUICK, "--labels", str(tmp_path / "said.csv"), "--out", str(root)]) == 0
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("not_blurred quality") for line in said)
    for gate in ("not_the_dullest", "sharp"):  # neither has one bound that these labels could move
        (place,) = (n for n, line in enumerate(said) if line.startswith(f"{gate} quality 0 0"))
        assert "calibrate takes the others" in " ".join(said[place : place + 9])
    lines = (root / THRESHOLDS).read_text("utf-8").splitlines()
    assert [line.partition("=")[0] for line in lines[1:]] == [
        "select.gates.not_blurred.max",
        "select.gates.not_blurred.validated",
        "select.gates.not_blurred.measured_on",
    ]
    gate = recipes.override(json.loads((root / "_run.json").read_text("utf-8")), [f"@{root / THRESHOLDS}"])
    assert gate["select"]["gates"]["not_blurred"]["validated"] is True


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image_id,question,label\nx,quality,maybe\n", r"line 2: label 'maybe'; expected yes, no or unsure"),
        ("image_id,question,label\nx,quality,yes\n", r"line 2: no picture 'x' with question 'quality'"),
        ("image_id,question,label\nx,quality,\n", r"holds no label"),
    ],
)
def test_a_wrong_line_of_labels_is_named(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=fault):
        read_labels(path, [])


def test_settings_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "a.set").write_text("# bounds\n\nrender.takes=3\nname = 'x'\n", "utf-8")
    assert recipes.override({}, [f"@{tmp_path / 'a.set'}"]) == {"render": {"takes": 3}, "name": "x"}
    with pytest.raises(ConfigError, match=r"cannot be read .*expected a file of settings"):
        recipes.override({}, [f"@{tmp_path / 'b.set'}"])
