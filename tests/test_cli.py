"""The command line itself: codes, one line a fault, fast help."""

import subprocess
import sys
from pathlib import Path

import pytest

from promptforge.cli import answer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["run", "minni"], "did you mean 'mini'"),
        (["run", "mini", "--set", "render.taks=3"], "did you mean 'takes'"),
        (["run", "mini", "--set", "render.takes=many"], "render.takes: is 'many'"),
        (["run", "mini", "--axis", "quality"], "image_quality"),
        (["run", "mini", "--axis", "image_quality"], "--source"),
        (["run", "mini", "--source", "a.txt", "--columns", "prompt"], "field=column"),
        (["rum"], "run"),
        (["status", "--run", "nowhere"], "no run here"),
        (["schema", "nothing"], "no table or view"),
        (["why", "0123"], "promptforge run mini"),  # no run to look in
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code = answer(given)
    err = capsys.readouterr().err
    assert code == 2
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from promptforge.cli import answer; answer(['--help'])\n"
        "heavy = {'prefect', 'torch', 'duckdb', 'pyarrow', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for name in ("run", "status", "query", "why", "show", "select", "verify", "purge", "schema", "serve"):
        assert f" {name} " in done.stdout


def test_an_unexpected_fault_is_one_line_unless_debug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_name: object) -> None:
        raise RuntimeError("the \x1b[2Jsky fell")

    monkeypatch.setattr("promptforge.commands.query.show_schema", broken)
    code = answer(["schema"])
    err = capsys.readouterr().err
    assert code == 1
    assert err == "promptforge: unexpected RuntimeError: the \\x1b[2Jsky fell; --debug shows where\n"
    with pytest.raises(RuntimeError):
        answer(["schema"], debug=True)


def test_help_tells_where_a_run_goes_and_offers_no_flag_that_empties_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for name in ("run", "plan", "select", "distill", "first-contact"):
        answer([name, "--help"])
        told[name] = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "by default runs/ and the recipe's name" in told["run"]
    assert "runs/NAME-pilot" in told["plan"]
    assert "runs/distill/NAME by default" in told["distill"]
    assert "runs/first-contact-NAME by default" in told["first-contact"]
    assert "@FILE" in told["run"] and "render.takes" not in told["select"]  # select changes select.* alone
    assert not any("--empty" in text for text in told.values())
