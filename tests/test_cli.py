"""The command line as a person has it: one small run through Prefect on own prompts, then every command on it.

The run itself goes through the real entry point in a process of its own, under strace where there is one, so that
what it prints and whom it calls is seen from outside. The commands after it are called in this process.
"""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from promptforge.cli import answer

QUALITY = [
    "a quiet lake at dawn, soft light, photograph",
    "an old lighthouse in fog, oil painting",
    "a harbour at night, long exposure",
    "A quiet lake at dawn, soft light -- photograph!",  # the first again, but for case and punctuation
]
SEMANTICS = ["a red apple on a blue table", "three green cups beside a lamp", "a dog to the left of a white cat"]
WORDS = ['a shop sign that says "Open Late"', 'a mug with the words "Good Day" on it', "a poster without a word on it"]
HOSTILE = [
    "<script>alert(1)</script> a lake, *bold* [here](http://www.example.org)",
    '=HYPERLINK("http://example.org";"a lake")',
    "'; DROP TABLE prompts; -- a lake at noon",
    "../../etc/passwd, painted in oil",
    "a lake \x1b[31mred\x1b[0m at noon",  # an escape sequence of a terminal: the check `characters` drops it
]
SETTINGS = ("--set", "regime.size=128", "--set", "render.takes=1")


@dataclass(frozen=True)
class Made:
    """A finished run, what it printed, and the addresses that its processes connected to (None: no strace)."""

    folder: Path
    out: str
    err: str
    addresses: frozenset[str] | None

    @property
    def root(self) -> Path:
        return self.folder / "runs" / "own"


def command(*given: str) -> list[str]:
    return [sys.executable, "-m", "promptforge.cli", *given]


def environment() -> dict[str, str]:
    """This process's, without what a developer may have set for Prefect."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def run_arguments(folder: Path) -> list[str]:
    given = ["run", "mini", "--out", "runs/own", *SETTINGS]
    for path in sorted(folder.glob("*.csv")):
        given += ["--source", path.name]
    return [*given, "--columns", "text=prompt,axis=kind"]


def connected(log: str) -> frozenset[str]:
    return frozenset(re.findall(r"inet_addr\(\"([^\"]+)\"\)", log)) | frozenset(
        re.findall(r"inet_pton\(AF_INET6, \"([^\"]+)\"", log)
    )


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("own")
    with (folder / "own.csv").open("w", newline="", encoding="utf-8") as sink:
        rows = csv.writer(sink)
        rows.writerow(["prompt", "kind"])
        rows.writerows([text, "image_quality"] for text in (*QUALITY, *HOSTILE))
        rows.writerows([text, "semantic_understanding"] for text in SEMANTICS)
        rows.writerows([text, "text_rendering"] for text in WORDS)
    given = command(*run_arguments(folder))
    log = folder / "strace.txt"
    if tracer := shutil.which("strace"):
        given = [
            tracer,
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=connect",
            "-e",
            "signal=none",
            "-o",
            str(log),
            *given,
        ]
    done = subprocess.run(
        given, cwd=folder, env=environment(), capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(folder, done.stdout, done.stderr, connected(log.read_text()) if tracer else None)


@pytest.fixture
def here(made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the finished run as the working directory; tests read it only."""
    monkeypatch.chdir(made.folder)
    return made.root


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    return Path(shutil.copytree(made.root, tmp_path / "own"))


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*given: object) -> tuple[int, str, str]:
        code = answer([str(part) for part in given])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_closing_table_counts_what_was_made(made: Made) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in made.out.splitlines() if line[:1].isalpha()}
    # candidates, kept, rendered, accepted, published: 9 rows, of them a duplicate and one with control characters.
    assert rows["image_quality"][:5] == ["9", "7", "7", "7", "7"]
    assert rows["semantic_understanding"][:5] == ["3"] * 5
    assert rows["text_rendering"][:5] == ["3", "2", "2", "2", "2"]  # the poster has no text to draw
    assert rows["all"][:5] == ["15", "12", "12", "12", "12"]
    for part in ("seconds: ", "runs/own/dataset", "runs/own/rejects.md", "promptforge query"):
        assert part in made.out


def test_nothing_but_the_runs_own_words_is_on_the_screen(made: Made) -> None:
    assert made.err == ""
    for noise in ("Traceback", "prefect.", "INFO", "WARNING", "Starting temporary server"):
        assert noise not in made.out


def test_a_run_connects_to_nobody_but_itself(made: Made, need_tool: Callable[[str], str]) -> None:
    need_tool("strace")
    assert made.addresses == {"127.0.0.1"}


def test_a_second_run_does_nothing_twice_and_says_so(made: Made) -> None:
    heads = sorted(path.name for path in (made.root / "heads").iterdir())
    done = subprocess.run(
        command(*run_arguments(made.folder)),
        cwd=made.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to do: runs/own is up to date (1 text shard, 12 pictures" in done.stdout
    assert sorted(path.name for path in (made.root / "heads").iterdir()) == heads


def test_ctrl_c_says_that_it_is_safe_and_leaves_no_server(made: Made, tmp_path: Path) -> None:
    running = subprocess.Popen(
        command("run", "mini", "--out", str(tmp_path / "x")),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if "starting Prefect" in line:
            running.send_signal(signal.SIGINT)
            break
    said = running.stdout.read()  # ends when every holder of the pipe has: no server is left with it
    running.stdout.close()
    assert running.wait(30) == 130
    assert "It is safe to run the same command again" in said


def test_a_server_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from promptforge.flows.server import TemporaryServer\n"
        f"with TemporaryServer(Path({str(tmp_path)!r})) as server:\n"
        "    server.wait(); print(server.url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port = int(parent.stdout.readline().rsplit(":", 1)[1].split("/")[0])
    socket.create_connection(("127.0.0.1", port)).close()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        signal.sigtimedwait([], 0.1)
    pytest.fail("the server still listens 10 s after its parent was killed")


def test_the_report_of_rejects_counts_and_shows_them_without_letting_them_act(made: Made) -> None:
    report = (made.root / "rejects.md").read_text("utf-8")
    assert "| image_quality | dedup | exact_duplicate | exact_duplicate | 1 |" in report
    assert "| text_rendering | filter | expected_text |" in report
    assert "\x1b" not in report
    assert "<script>" not in report


def test_csv_json_and_parquet_hold_the_prompts_exactly(here: Path, ask: Ask, tmp_path: Path) -> None:
    sql = "select text from prompts where axis = 'image_quality' order by stream_order"
    wanted = [*QUALITY, *HOSTILE]
    code, out, _ = ask("query", sql, "--format", "csv")
    assert code == 0
    assert [row[0] for row in csv.reader(io.StringIO(out))][1:] == wanted
    assert [row["text"] for row in json.loads(ask("query", sql, "--format", "json")[1])] == wanted
    path = tmp_path / "answer.parquet"
    assert ask("query", sql, "--format", "parquet", "--output", path) == (0, "", "")
    assert [row[0] for row in duckdb.sql(f"select text from '{path}'").fetchall()] == wanted


def test_a_table_on_the_screen_shows_control_characters_as_escapes(here: Path, ask: Ask) -> None:
    _, out, _ = ask("query", "select text from prompts")
    assert "\x1b" not in out
    assert "a lake \\x1b[31mred" in out
    assert "<script>alert(1)</script>" in out


def test_a_query_can_come_from_a_file(here: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("-- how many\nselect count(*) as n from accepted;\n")
    assert ask("query", "--file", tmp_path / "q.sql", "--format", "csv") == (0, "n\n12\n", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["selec 1"], "syntax error"),
        (["drop table prompts"], "only reads"),
        (["copy prompts to 'stolen.csv'"], "only reads"),
        (["create table t as select 1"], "only reads"),
        (["select 1; select 2"], "one statement"),
        (["set enable_external_access = true"], "only reads"),
        (["select * from nowhere"], "nowhere"),
        (["select 1", "--format", "parquet"], "--output"),
        (["select 1", "--format", "xml"], "xml"),
        ([], "SQL in quotes"),
        (["select 1", "--run", "elsewhere"], "no run here"),
    ],
)
def test_a_query_that_cannot_be_answered_is_one_line_and_code_2(
    here: Path, ask: Ask, given: list[str], said: str
) -> None:
    code, out, err = ask("query", *given)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


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
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = ask(*given)
    assert code == 2
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_status_tells_the_head_and_that_nobody_is_at_work(here: Path, ask: Ask) -> None:
    code, out, _ = ask("status")
    assert code == 0
    assert "at work: nobody" in out
    assert re.search(r"head: +\d+ of run 1, published", out)
    assert re.search(r"render +\d+ +\d+ +12\b", out)


def test_status_tells_a_killed_run(copy: Path, ask: Ask) -> None:
    owner = json.loads((copy / "_lock.json").read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (copy / "_lock.json").write_text(json.dumps(owner | {"held": True, "pid": gone.pid}))
    assert "was killed" in ask("status", "--run", copy)[1]


def first(ask: Ask, sql: str) -> str:
    return ask("query", sql, "--format", "csv")[1].splitlines()[1]


def test_why_tells_of_a_dropped_row(here: Path, ask: Ask) -> None:
    row = first(ask, "select row_id from rejects where check_name = 'exact_duplicate'")
    winner = first(ask, "select row_id from prompts order by stream_order limit 1")
    code, out, _ = ask("why", row[:12])
    assert code == 0
    assert QUALITY[3] in out
    assert f"dedup/exact_duplicate: drop, exact_duplicate ({winner})" in out
    assert "check      characters: passes" in out


def test_why_tells_of_gates_with_their_values(here: Path, ask: Ask) -> None:
    prompt = first(ask, "select prompt_id from accepted where axis = 'text_rendering' limit 1")
    code, out, _ = ask("why", prompt)
    assert code == 0
    assert "keep_prompt yes" in out
    assert re.search(r"not_flat +keep_image +flat +[\d.]+ +at most 0 +(passes|FAILS)", out)
    assert re.search(r"text_reads +keep_image +verdict", out)


def test_an_id_that_nothing_has_is_told(here: Path, ask: Ask) -> None:
    code, _, err = ask("why", "00000000000000000000000000000000")
    assert code == 2
    assert "no row_id or prompt_id begins with" in err


def test_show_writes_the_picture_and_tells_what_was_read(here: Path, ask: Ask, tmp_path: Path) -> None:
    from PIL import Image

    image = first(ask, "select image_id from accepted where axis = 'text_rendering' order by text limit 1")
    code, out, _ = ask("show", image, "--output", tmp_path / "x.png")
    assert code == 0
    assert 'a mug with the words "Good Day" on it' in out
    assert "to draw    Good Day" in out
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (128, 128)


def test_select_shows_the_difference_and_changes_nothing(here: Path, ask: Ask) -> None:
    before = sorted(path.name for path in (here / "heads").iterdir())
    code, out, _ = ask("select", "--set", "select.quota.semantic_understanding=1")
    assert code == 0
    assert re.search(r"semantic_understanding +3 +1 +0 +2 ", out)  # accepted, would be, gained, lost
    assert re.search(r"image_quality +7 +7 +0 +0 ", out)
    assert "--apply" in out
    assert sorted(path.name for path in (here / "heads").iterdir()) == before


def test_select_refuses_what_needs_a_run(here: Path, ask: Ask) -> None:
    code, _, err = ask("select", "--set", "render.takes=2")
    assert code == 2
    assert "promptforge run" in err


def test_verify_passes_and_then_names_the_file_that_was_changed(copy: Path, ask: Ask) -> None:
    assert ask("verify", "--run", copy)[0] == 0
    victim = next((copy / "prompts").glob("*.parquet"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    code, out, _ = ask("verify", "--run", copy)
    assert code == 1
    assert f"prompts/{victim.name}" in out


def test_purge_leaves_the_reason_and_not_the_text(
    made: Made, copy: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.folder)  # where the source file is
    ((prompt,),) = duckdb.sql(
        f"select prompt_id from read_parquet('{copy}/prompts/*.parquet') where text = '{SEMANTICS[0]}'"
    ).fetchall()
    assert ask("purge", prompt, "--reason", "takedown", "--run", copy)[0] == 0
    _, out, _ = ask(
        "query", "select text, reason from rejects where reason = 'takedown'", "--format", "csv", "--run", copy
    )
    assert out.splitlines()[1:] == [",takedown"]


def test_schema_lists_tables_and_views_and_explains_one(ask: Ask) -> None:
    listed = ask("schema")[1]
    for name in ("prompts", "scores", "accepted", "funnel"):
        assert re.search(rf"^{name} ", listed, re.MULTILINE)
    explained = ask("schema", "published")[1]
    assert "published (table, version 1)" in explained
    assert re.search(r"keep_image +BOOLEAN +yes +whether its picture is in data/", explained)
    assert "check: " in explained


def test_the_newest_finished_run_is_meant_where_none_is_named(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptforge.commands.terminal import find_run

    monkeypatch.chdir(tmp_path)
    for name, moment in (("old", 1), ("new", 2), ("failed", 3)):
        folder = tmp_path / "runs" / name
        (folder / "heads").mkdir(parents=True)
        (folder / "_run.json").write_text("{}")
        os.utime(folder / "_run.json", (moment, moment))
        if name != "failed":
            (folder / "heads" / "000001.json").write_text("{}")
    assert find_run(None) == Path("runs/new")
    assert find_run(None, finished=False) == Path("runs/failed")


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


def test_an_unexpected_fault_is_one_line_unless_debug(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: object) -> None:
        raise RuntimeError("the \x1b[2Jsky fell")

    monkeypatch.setattr("promptforge.commands.query.show_schema", broken)
    code, _, err = ask("schema")
    assert code == 1
    assert err == "promptforge: unexpected RuntimeError: the \\x1b[2Jsky fell; --debug shows where\n"
    with pytest.raises(RuntimeError):
        answer(["schema"], debug=True)
