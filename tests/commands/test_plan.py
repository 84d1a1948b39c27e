"""plan on the screen: the words of run where it refuses, bounds where nothing is measured, nothing written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Ask = Callable[..., tuple[int, str, str]]

SMALL = ("--set", "regime.size=128")


def test_plan_refuses_what_run_refuses_in_the_same_words(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in (
        ("flux-schnell",),  # natural captions are demanded of a grammar
        ("mini", "--set", "render.taks=2"),
        ("mini", "--set", "regime.mistake_rate=2"),
        ("nope",),
        ("mini", "--axis", "text_rendering"),
    ):
        code, said, fault = ask("plan", *wrong)
        assert (code, said) == (2, "")
        assert (code, fault) == (2, ask("run", *wrong)[2]), wrong
    assert list(tmp_path.iterdir()) == []


def test_a_missing_input_file_is_named(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, fault = ask("plan", "paper")
    assert code == 1
    assert "data/laion_6.5.json" in fault


def test_a_plan_without_a_basis_gives_bounds_says_so_and_writes_nothing(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, fault = ask("plan", "mini")
    assert (code, fault) == (0, "")
    lines = said.splitlines()
    assert len(lines) <= 40
    assert "rests on nothing measured: bounds alone" in lines
    (row,) = (line for line in lines if line.startswith("text_rendering"))
    assert row.split() == ["text_rendering", "600", "0", "to", "600", *(["0", "to", "400"] * 4)]
    assert list(tmp_path.iterdir()) == []


def test_the_first_line_does_not_promise_every_prompt_where_some_axis_has_a_quota(
    ask: Ask, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    every = [word for axis in ("image_quality", "text_rendering") for word in ("--set", f"select.quota.{axis}=all")]
    _, said, _ = ask("plan", "mini", *every)
    assert said.startswith("mini: every prompt (at most 400 of semantic_understanding) wanted out of 1,800 candidates")


def test_prompts_whose_axis_only_their_text_tells_are_counted_once_in_all(
    ask: Ask, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("".join(f"a red bird number {n}\n" for n in range(300)), "utf-8")
    _, said, _ = ask("plan", "mini", "--source", "mine.txt", "--set", "render.takes=2")
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("text_r", "all"))}
    assert rows["text_rendering"][:3] == ["0", "to", "300"]
    # candidates 300; kept and prompts 0 to 300; pictures 0 to 600, two of each; accepted and usable 0 to 300
    assert rows["all"] == ["300", "0", "to", "300", "0", "to", "300", "0", "to", "600", *["0", "to", "300"] * 2]


def test_json_has_every_line_with_its_basis(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = ask("plan", "mini", "--json", "--price", "2.5")
    assert code == 0
    found = json.loads(said)
    parts = {line["part"] for line in found["lines"]}
    assert parts == {"rows", "time", "money", "disk", "memory", "trainer"}  # the embedded teacher fetches nothing
    assert all(line["basis"] and line["detail"] for line in found["lines"])
    (candidates,) = (
        line for line in found["lines"] if (line["item"], line["axis"]) == ("candidates", "text_rendering")
    )
    assert (candidates["expected"], candidates["basis"]) == (600, "known")


def test_a_gpu_recipe_names_its_downloads_licences_and_formulas(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = ask("plan", "flux-schnell", "--set", "coverage.min.natural_share.image_quality=0", "--price", "2.5")
    assert code == 0
    assert len(said.splitlines()) <= 40
    assert "black-forest-labs/FLUX.1-schnell, 34.4 GB, to fetch at 741f7c3ce8b3; licence apache-2.0" in said
    assert "pictures x 16 x 128 x 128 x 2 bytes (bf16)" in said
    assert "prompts x (256 x 4096 + 768) x 2 bytes (bf16)" in said
    assert "money:    unknown" in said
    # 30,000 prompts at most x (256 x 4096 + 768) x 2 bytes = 62.96 GB
    assert "embeddings 0 B to 63 GB" in said


def test_a_pilot_that_cannot_draw_is_refused_before_any_work(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    natural = ("--set", "coverage.min.natural_share.image_quality=0")
    code, _, fault = ask("plan", "flux-schnell", *natural, "--pilot", "1")
    assert code == 2
    assert "--pilot draws on this machine, and torch is not installed" in fault
    assert list(tmp_path.iterdir()) == []


def test_published_seconds_are_said_to_be_published(ask: Ask, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = ask(
        *("plan", "flux-dev", "--set", "coverage.min.natural_share.image_quality=0", "--json", "--price", "2"),
        *("--set", "regime.accept_license=flux-1-dev-non-commercial-license", "--set", "render.sample=1"),
    )
    assert code == 0
    lines = json.loads(said)["lines"]
    (render,) = (line for line in lines if (line["item"], line["unit"]) == ("render", "gpu_seconds"))
    assert "published for diffusers on an H100, not measured" in render["detail"]
    assert render["expected"] is None  # how many pass the checks is not known
    assert render["high"] == pytest.approx(30_000 * 6.46 * 1.25, rel=0.01)


def test_a_plan_of_a_finished_run_rests_on_it(ask: Ask, here: Path) -> None:
    given = ("--source", "own.csv", "--columns", "text=prompt,axis=kind", "--out", "runs/own", *SMALL)
    code, said, fault = ask("plan", "mini", *given)
    assert (code, fault) == (0, "")
    assert "rests on an earlier run, runs/own: its text is this run's, whole; 12 pictures of 12 prompts judged" in said
    # 16 rows, of them 12 kept by the checks, as the run itself found
    (row,) = (line for line in said.splitlines() if line.startswith("all "))
    assert row.split()[1:6] == ["16", "12", "12", "12", "12"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (("--pilot", "0"), "--pilot 0: expected a number of prompts"),
        (("--pilot", "9", "--from", "x"), "give one of the two"),
        (("--from", "nowhere"), "--from nowhere: no run here"),
        (("--against", "nowhere"), "nowhere: no forecast was saved here"),
    ],
)
def test_flags_that_contradict_each_other_are_told(
    ask: Ask, tmp_path: Path, monkeypatch, given: tuple[str, ...], fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = ask("plan", "mini", *given)
    assert code == 2
    assert fault in said
    assert list(tmp_path.iterdir()) == []
