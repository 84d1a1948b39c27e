"""The make targets: explained, safe with blanks in paths, and deaf to stray variables of the environment."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def make(tmp_path: Path, need_tool: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """make in a folder whose environment counts as installed and whose promptforge prints what it was given."""
    program = need_tool("make")
    (tmp_path / "Makefile").write_bytes((REPOSITORY / "Makefile").read_bytes())
    (tmp_path / "requirements").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    locks = ("build", "core", "dev", "fast", "models", "torch", "uv")
    inputs = ["pyproject.toml", *(f"requirements/{name}.txt" for name in locks)]
    for name in [*inputs, ".venv/.made", ".venv/.core-installed"]:
        (tmp_path / name).touch()
    for name in inputs:  # older than the stamps, whatever the clock's grain
        os.utime(tmp_path / name, (0, 0))
    command = tmp_path / ".venv" / "bin" / "promptforge"
    command.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    command.chmod(0o755)
    # make under make would take over the outer one's variables
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *words], cwd=tmp_path, env=plain | environment, capture_output=True, text=True, check=False
        )

    return run


Make = Callable[..., subprocess.CompletedProcess[str]]


def words_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_is_the_default_and_explains_every_target(make: Make) -> None:
    targets = re.findall(r"^([a-z-]+):(?!=)", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    done = make()
    assert done.stdout == make("help").stdout
    assert re.findall(r"^  make (\S+) +\S", done.stdout, flags=re.M) == targets


def test_report_takes_a_run_and_a_file_with_blanks(make: Make) -> None:
    assert words_of(make("report")) == ["report"]
    given = make("report", "RUN=runs/my run", "OUT=a file.html", "ARGS=--open")
    assert words_of(given) == ["report", "--run", "runs/my run", "--out", "a file.html", "--open"]


def test_shards_runs_the_mini_recipe(make: Make) -> None:
    assert words_of(make("shards")) == ["run", "mini"]


def test_shards_hands_everything_on_word_by_word(make: Make, tmp_path: Path) -> None:
    done = make(
        "shards",
        "RECIPE=paper",
        "SOURCES=a.txt 'my own list.txt' \"it's.csv\"",
        "AXIS=text_rendering",
        "OUT=runs/my run; echo no",
        "SET=render.takes=3 'name=two words' select.quota=[1,2] seed=*",
    )
    wanted = "run paper --source|a.txt --source|my own list.txt --source|it's.csv --axis|text_rendering"
    wanted += (
        " --out|runs/my run; echo no --set|render.takes=3 --set|name=two words --set|select.quota=[1,2] --set|seed=*"
    )
    assert words_of(done) == [word for part in re.split(r" (?=--|paper)", wanted) for word in part.split("|")]


def test_shards_takes_a_pattern_and_one_unquoted_path_with_a_blank(make: Make, tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "my list.csv"):
        (tmp_path / name).touch()
    assert words_of(make("shards", "SOURCES=*.txt")) == ["run", "mini", "--source", "a.txt", "--source", "b.txt"]
    assert words_of(make("shards", "SOURCES=my list.csv")) == ["run", "mini", "--source", "my list.csv"]


def test_a_stray_variable_of_the_environment_changes_nothing(make: Make) -> None:
    stray = dict.fromkeys(["RECIPE", "SOURCES", "AXIS", "OUT", "SET"], "stray")
    assert words_of(make("shards", **stray)) == ["run", "mini"]


def test_query_hands_its_text_on_as_it_is(make: Make) -> None:
    text = "select 'it''s' as \"a;b\", count(*) from accepted where text like '%`x`%' group by all"
    assert words_of(make("query", f"SQL={text}", "RUN=my run")) == ["query", "--run", "my run", "--", text]
    assert words_of(make("query", "FILE=q.sql", "FORMAT=csv")) == ["query", "--file", "q.sql", "--format", "csv"]


def test_query_without_a_question_says_what_it_needs(make: Make) -> None:
    done = make("query")
    assert done.returncode == 2
    assert 'SQL="select ..." or FILE=q.sql' in done.stderr


def test_an_old_python_is_refused_with_what_to_do(make: Make, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    (tmp_path / ".venv" / ".made").unlink()
    done = make("setup", "PYTHON=./python2", "-W", "requirements/core.txt")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer; seen: Python 3.9.1" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_shards_passes_what_the_columns_are(make: Make) -> None:
    given = words_of(make("shards", "SOURCES=a.csv", "FIELDS=text=prompt,expected_text=words"))
    assert given == ["run", "mini", "--source", "a.csv", "--columns", "text=prompt,expected_text=words"]


@pytest.mark.parametrize("stray", ["SOURCE=captions.txt", "COLUMNS=text=prompt"])
def test_a_misspelt_setting_is_refused_and_nothing_runs(make: Make, stray: str) -> None:
    done = make("shards", stray)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{stray.partition('=')[0]}: no such setting; there are RECIPE SOURCES AXIS FIELDS" in done.stderr


def test_the_suite_of_the_core_leaves_the_models_out_and_theirs_runs_nothing_else(make: Make, tmp_path: Path) -> None:
    for name in ("models", "dev"):
        (tmp_path / ".venv" / f".{name}-installed").touch()
    (tmp_path / ".venv" / "bin" / "promptforge").rename(tmp_path / ".venv" / "bin" / "pytest")
    core, models = words_of(make("test", "PYTEST_ARGS=-k store")), words_of(make("test-models"))
    assert core[core.index("-m") + 1] == "not models and not vllm"
    assert core[-2:] == ["-k", "store"]
    assert models[models.index("-m") + 1] == "models"
    assert models[models.index("--maxprocesses") + 1] == "2"


def test_installing_the_models_takes_the_lock_first_and_torch_by_pip_at_its_exact_version(make: Make) -> None:
    steps = make("setup-models", "--dry-run").stdout
    lock, apart = steps.index("-r requirements/models.txt"), steps.index("pip install -qq -r requirements/torch.txt")
    assert lock < apart
    assert "--no-deps --require-hashes" in steps[:lock]
