"""One small run through Prefect on own prompts, shared by every test of a command and every worker of the suite.

The run goes through the real entry point in a process of its own, under strace where there is one, so that what it
prints and whom it calls is seen from outside.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from promptforge.cli import answer

QUALITY = [
    "a quiet lake at dawn, soft light, photograph",
    "an old lighthouse in fog, oil painting",
    "a harbour at night, long exposure",
    "A quiet lake at dawn, soft light -- photograph!",  # the first again, but for case and punctuation
]
SEMANTICS = ["a red apple on a blue table", "three green cups beside a lamp", "a dog to the left of a white cat"]
AGAIN = "three green cups beside a lamp"  # to the letter: both rows have one prompt_id
WORDS = ['a shop sign that says "Open Late"', 'a mug with the words "Good Day" on it', "a poster without a word on it"]
HOSTILE = [
    "<script>alert(1)</script> a lake, *bold* [here](http://www.example.org)",
    '=HYPERLINK("http://example.org";"a lake")',
    "'; DROP TABLE prompts; -- a lake at noon",
    "../../etc/passwd, painted in oil",
    "a lake \x1b[31mred\x1b[0m at noon",  # an escape sequence of a terminal: the check `characters` drops it
]
TRACE = ("-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-e", "signal=none", "-o")


@dataclass(frozen=True)
class Made:
    """A folder with own.csv and a finished run of it in runs/own; what the run printed; the calls that strace saw."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "runs" / "own"

    def said(self, name: str) -> str:
        """stdout, stderr or strace."""
        return (self.folder / f"{name}.txt").read_text("utf-8")

    @property
    def quality(self) -> list[str]:
        """Every text of the axis image_quality, in stream order."""
        return [*QUALITY, *HOSTILE]


def command(*given: str) -> list[str]:
    return [sys.executable, "-m", "promptforge.cli", *given]


def environment() -> dict[str, str]:
    """This process's, without what a developer may have set for Prefect."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


@pytest.fixture(scope="session")
def start() -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the command line, or other code, in a process of its own."""

    def process(*given: str, cwd: Path, code: str | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command(*given) if code is None else [sys.executable, "-c", code],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return process


RUN = ("run", "mini", "--source", "own.csv", "--columns", "text=prompt,axis=kind", "--out", "runs/own")


@pytest.fixture(scope="session")
def run_again() -> tuple[str, ...]:
    """The arguments that made the run."""
    return (*RUN, "--set", "regime.size=128")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, run_again: tuple[str, ...]) -> Made:
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the first worker makes it, the others wait and read
    folder = base / "commands"
    with FileLock(f"{folder}.lock"):
        if not (folder / "strace.txt").exists():
            _make(folder, run_again)
    return Made(folder)


def _make(folder: Path, given: tuple[str, ...]) -> None:
    folder.mkdir()
    with (folder / "own.csv").open("w", newline="", encoding="utf-8") as sink:
        rows = csv.writer(sink)
        rows.writerow(["prompt", "kind"])
        rows.writerows([text, "image_quality"] for text in (*QUALITY, *HOSTILE))
        rows.writerows([text, "semantic_understanding"] for text in (*SEMANTICS, AGAIN))
        rows.writerows([text, "text_rendering"] for text in WORDS)
    tracer = shutil.which("strace")
    prefix = [tracer, *TRACE, str(folder / "tracing.txt")] if tracer else []
    done = subprocess.run(
        [*prefix, *command(*given)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    traced = (folder / "tracing.txt").read_text() if tracer else ""
    (folder / "strace.txt").write_text(traced)  # last: it says that the rest is whole


@pytest.fixture
def here(made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the finished run, with the working directory above it; tests only read it."""
    monkeypatch.chdir(made.folder)
    return made.root


@pytest.fixture
def copy(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run and its source, to be changed."""
    shutil.copy(made.folder / "own.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made.root, tmp_path / "runs" / "own"))


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The exit code, output and errors of a command, run in this process."""

    def call(*given: object) -> tuple[int, str, str]:
        code = answer([str(part) for part in given])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
