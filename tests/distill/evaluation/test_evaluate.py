"""A whole evaluation: what it writes, killed or not; what is refused; what students share."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from promptforge.distill.settings import read
from promptforge.errors import ConfigError, EnvironmentFault, StoreFault
from promptforge.schema import conform

pytestmark = pytest.mark.models

_PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[4]))
from promptforge.distill.evaluation import evaluate
from promptforge.distill.settings import read

def tell(what, done, of):
    if (what, done) == ("pictures", 2):
        os.kill(os.getpid(), signal.SIGKILL)

evaluate(read(json.loads(sys.argv[1]), "test"), Path(sys.argv[2]), tell, Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def whole(raw: dict[str, Any], trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation that nothing interrupted; tests only read it."""
    return _evaluated(raw, tmp_path_factory.mktemp("whole"), trained)


def _evaluated(raw: dict[str, Any], folder: Path, student: Path, heard: list[Any] | None = None) -> Path:
    from promptforge.distill.evaluation import evaluate

    return evaluate(read(raw, "test"), folder, lambda *said: heard.append(said) if heard is not None else None, student)


def _numbers(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "evaluation.json").read_text())
    return found


def _but_the_clock(place: Path) -> dict[str, Any]:
    """Everything but times: clocks differ from run to run."""
    found = _numbers(place)
    for side in ("teacher", "student"):
        for name in ("ms_1", "ms_n"):
            assert found["cost"][side].pop(name) > 0
    return found


def test_killed_and_started_again_it_has_the_same_bytes(
    raw: dict[str, Any], trained: Path, whole: Path, tmp_path: Path
) -> None:
    import torch

    given = [json.dumps(raw), str(tmp_path), str(trained), str(torch.get_num_threads())]
    process = subprocess.run([sys.executable, "-c", _PROGRAM, *given], timeout=300, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    kept = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.parquet"))}
    assert {path.parent.name for path in kept} == {"velocity", "pictures"}
    assert not (tmp_path / "evaluation" / "table.md").exists()
    place = _evaluated(raw, tmp_path, trained)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was drawn twice
    assert (place / "student_gap.parquet").read_bytes() == (whole / "student_gap.parquet").read_bytes()
    assert _but_the_clock(place) == _but_the_clock(whole)
    pieces = [
        {p.relative_to(f / "pieces"): p.read_bytes() for p in f.rglob("pieces/*/*.parquet")} for f in (place, whole)
    ]
    assert {k: v for k, v in pieces[0].items() if k.parts[0] != "cost"} == {
        k: v for k, v in pieces[1].items() if k.parts[0] != "cost"
    }


def test_a_second_call_loads_nothing_and_writes_the_same(
    raw: dict[str, Any], trained: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptforge.distill.teacher import Teacher

    copied = shutil.copytree(whole, tmp_path / "evaluation")
    before = {path.name: path.read_bytes() for path in copied.glob("*.*")}

    def refuse(*_: object) -> None:
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(Teacher, "load", refuse)
    _evaluated(raw, tmp_path, trained)
    assert {path.name: path.read_bytes() for path in copied.glob("*.*")} == before
    assert sorted(before) == ["evaluation.json", "student_gap.parquet", "table.md"]


def test_student_gap_has_a_row_for_each_prompt_noise_and_step_and_keeps_its_definition(whole: Path) -> None:
    table = pq.read_table(whole / "student_gap.parquet")
    conform("student_gap", table)
    rows = table.to_pylist()
    assert len(rows) == 9 * 2 * 2  # prompts x noises x steps
    assert {(row["split"], row["axis"]) for row in rows} == {
        ("test_natural", "image_quality"),
        ("test_composition", "semantic_understanding"),
        ("test_words", "text_rendering"),
    }
    assert table.schema.metadata[b"promptforge.table"] == b"student_gap/1"


def test_numbers_of_velocity_are_means_of_the_gap(whole: Path) -> None:
    rows = pq.read_table(whole / "student_gap.parquet").to_pylist()
    shares: dict[str, list[float]] = {}
    for row in rows:
        shares.setdefault(row["prompt_id"], []).append(row["error"] / row["scale"])
    wanted = np.mean([np.mean(some) for some in shares.values()])
    told = _numbers(whole)["velocity"]
    assert told["all"]["mean"] == pytest.approx(wanted, rel=1e-9)
    assert told["all"]["n"] == 9
    assert told["axis"]["text_rendering"]["n"] == 3
    assert [step["timestep"] for step in told["steps"]] == sorted({row["timestep"] for row in rows}, reverse=True)


def test_everything_that_was_named_is_measured_on_two_pictures_of_each_axis(whole: Path) -> None:
    told = _numbers(whole)
    assert told["pictures"]["failed"] == {"teacher": 0, "student": 0}
    assert {name: some["all"]["n"] for name, some in told["distances"].items()} == {
        "dino": 6,
        "pixel_mse": 6,
        "ssim": 6,
    }
    assert told["cmmd"]["n"] == 2
    assert told["scores"]["alignment"]["clip_score"]["teacher"]["all"]["n"] == 6
    assert told["semantic"][0]["scorer"] == "agreement"
    assert told["text"][0]["splits"] == ["test_words"]
    page = (whole / "table.md").read_text()
    assert "text: not claimed: the teacher itself reaches 0.00 (character accuracy, floor 0.50)." in page
    assert "Left out, since no model or scorer is named for it: aesthetic mark." in page
    assert told["also_selected"] == ["text"]  # RapidOCR, as in the run; its technical scorer judges nothing here
    assert "Judged here, and had the role select when the data set was made: text." in page
    assert "drawn by both: test_composition 2 semantic_understanding; test_natural 2 image_quality" in page


def test_the_encoders_are_counted(whole: Path) -> None:
    cost = _numbers(whole)["cost"]
    # T5 of 2 layers: attention 4 x (d x 32), gated feed-forward 3 x (d x 64), two norms of d; one table of 32 buckets
    # x 4 heads; a last norm; embeddings of the vocabulary.
    from tests.tiny_models.tokenizers import t5_tokenizer

    def t5(d: int) -> int:
        return 2 * (4 * d * 32 + 3 * d * 64 + 2 * d) + 32 * 4 + d + len(t5_tokenizer()) * d

    assert cost["teacher"]["parameters"] == t5(32)
    assert cost["student"]["parameters"] == t5(16) + 16 * 32 + 32 * 32  # and the projection
    for side in cost.values():
        assert side["weight_mib"] == pytest.approx(4 * side["parameters"] / 2**20)
        assert side["peak_mib"] is None  # only a GPU tells it


def test_students_share_the_teachers_pictures_and_scores(raw: dict[str, Any], trained: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    asked = {**raw["evaluation"], "shared": str(shared), "noises": 1, "pictures": 1, "dino": None, "cost": False}
    small = {**raw, "evaluation": asked}
    one = _evaluated(small, tmp_path / "one", trained)
    kept = {path: path.stat().st_mtime_ns for path in sorted(shared.rglob("*.parquet"))}
    assert {path.parent.name for path in kept} == {"pictures", "scores", "vectors"}
    other_student = shutil.copytree(trained, tmp_path / "student")
    _changed(other_student)
    other = _evaluated(small, tmp_path / "other", other_student)
    assert {path: path.stat().st_mtime_ns for path in sorted(shared.rglob("*.parquet"))} == kept
    first, second = _numbers(one), _numbers(other)
    assert first["teacher"] == second["teacher"]
    assert first["student"] != second["student"]
    assert first["velocity"]["all"]["mean"] < second["velocity"]["all"]["mean"]


def _changed(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["projection.3.weight"] *= 40
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_an_equal_student_has_no_error_no_distance_and_no_difference(
    raw: dict[str, Any], trained: Path, tmp_path: Path
) -> None:
    from promptforge.distill.evaluation.bench import Bench, Models
    from promptforge.distill.evaluation.held_out import cases_of
    from promptforge.distill.evaluation.summary import summarise

    settings = read(raw, "test")
    models = Models(settings, trained)
    models.__dict__["student"] = models.teacher.pipe.text_encoder_2
    models.__dict__["release"] = lambda: None
    cases = cases_of(settings.dataset, settings.evaluation)
    told = summarise(Bench(settings.evaluation, models, tmp_path).measure(cases), settings.evaluation)
    assert told["velocity"]["all"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 9}
    assert told["distances"]["pixel_mse"]["all"]["mean"] == 0.0
    assert told["distances"]["ssim"]["all"]["mean"] == 1.0
    assert told["distances"]["dino"]["all"]["high"] == 0.0
    assert told["cmmd"]["value"] == 0.0
    assert told["scores"]["alignment"]["cosine"]["difference"]["all"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 6}


def test_a_longer_evaluation_contains_the_shorter(raw: dict[str, Any]) -> None:
    from promptforge.distill.evaluation.held_out import cases_of, pictured
    from promptforge.distill.evaluation.settings import Evaluation

    long, short = (cases_of(raw["dataset"], Evaluation(prompts=n, pictures=0)) for n in (3, 2))
    assert len(long) == 9
    assert len(short) == 6
    assert set(short) < set(long)
    assert len(pictured(long, Evaluation(pictures=1))) == 3
    assert {case.split for case in cases_of(raw["dataset"], Evaluation(splits=("test_words",)))} == {"test_words"}


def test_what_was_trained_on_is_refused(raw: dict[str, Any], dataset: Path) -> None:
    from promptforge.distill.evaluation.held_out import cases_of
    from promptforge.distill.evaluation.settings import Evaluation

    def asked(**more: Any) -> dict[str, Any]:
        return {**raw, "evaluation": {**raw["evaluation"], **more}}

    with pytest.raises(ConfigError, match="train is what the student learnt from, no part of it is held out"):
        read(asked(splits=["train"]), "test")
    with pytest.raises(ConfigError, match="'test_words' is what the student learnt from"):
        cases_of(raw["dataset"], Evaluation(splits=("test_words",)), trained_on="test_words")
    with pytest.raises(ConfigError, match="no split 'test_natural'"):
        cases_of(str(dataset), Evaluation(splits=("test_natural",)))


def test_wrong_scorers_are_refused_before_a_training(raw: dict[str, Any]) -> None:
    def asked(**more: Any) -> dict[str, Any]:
        return {**raw, "evaluation": {**raw["evaluation"], **more}}

    with pytest.raises(ConfigError, match="no module 'aligment' in scorers; did you mean 'alignment'"):
        read(asked(scorers={"aligment": {}}), "test")
    with pytest.raises(ConfigError, match="questions asks a language model"):
        read(asked(scorers={"questions": {"llm": "x"}}), "test")
    with pytest.raises(ConfigError, match="no such field; did you mean 'second'"):
        read(asked(scorers={"text": {"secnd": "easyocr"}}), "test")
    with pytest.raises(ConfigError, match="pictures is 0, but scorers, clip or dino are named"):
        read(asked(pictures=0), "test")


def test_a_missing_student_and_a_damaged_piece_are_named(
    raw: dict[str, Any], trained: Path, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentFault, match="no student; promptforge distill makes one"):
        _evaluated(raw, tmp_path, tmp_path / "student")
    shutil.copytree(whole, tmp_path / "evaluation")
    victim = min((tmp_path / "evaluation" / "pieces" / "pictures").glob("*.parquet"))
    victim.write_bytes(b"PAR1 no table")
    with pytest.raises(StoreFault, match=r"pictures/.*\.parquet: cannot be read .* remove it, and it is made again"):
        _evaluated(raw, tmp_path, trained)
    victim.unlink()
    assert _numbers(_evaluated(raw, tmp_path, trained)) == _numbers(whole)


def test_what_is_evaluated_is_no_part_of_a_training(raw: dict[str, Any], tmp_path: Path) -> None:
    from promptforge.distill.train import claim

    claim(read(raw, "test"), tmp_path)
    claim(read({**raw, "evaluation": {"prompts": 7, "pictures": 0}}, "test"), tmp_path)
    assert "evaluation" not in json.loads((tmp_path / "settings.json").read_text())


def test_the_command_prints_the_tables(
    raw: dict[str, Any], trained: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from promptforge.cli import answer

    shutil.copytree(whole, tmp_path / "out" / "evaluation")
    own = tmp_path / "own.toml"
    own.write_text(_toml(raw))
    assert answer(["evaluate", str(own), "--out", str(tmp_path / "out"), "--student", str(trained)]) == 0
    said = capsys.readouterr().out
    assert "velocity error, % (n=9)" in said
    assert "Velocity error by timestep, %" in said
    assert str(tmp_path / "out" / "evaluation" / "student_gap.parquet") in said
    assert answer(["evaluate", str(own), "--student", str(tmp_path / "nobody"), "--out", str(tmp_path / "new")]) == 2
    assert "nobody: no student; promptforge distill makes one" in capsys.readouterr().err


def _toml(raw: dict[str, Any]) -> str:
    """Settings as TOML: a JSON object is an inline table but for the colons."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(value(each) for each in one) + "]"
        return json.dumps(one)

    return "\n".join(f"{key} = {value(each)}" for key, each in raw.items())
