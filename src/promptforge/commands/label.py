"""label: a sample of a run's pictures near the bounds of its gates, answered on a page or on a sheet.

The sample is committed before the first question, so that the same call goes on with it whatever the run draws since.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.commands.label_options import Labelling
from promptforge.commands.label_page import LabelPage
from promptforge.commands.label_sheet import read_answers, read_labels, write_sheet
from promptforge.errors import ConfigError
from promptforge.faults import nearest
from promptforge.lock import Lock
from promptforge.records import digest_of
from promptforge.stages import labels
from promptforge.stages.calibration.draw import Request, commit_sample, share_out
from promptforge.stages.calibration.frame import Frame, frame_of
from promptforge.stages.calibration.raters import agreements
from promptforge.stages.labels import QUESTIONS
from promptforge.stages.run import Run, open_run
from promptforge.stages.score import PixelReader

Row = dict[str, Any]
_MOST = 100_000  # pictures; nobody answers more, and the page holds the list of them

# In the order of their samples: the first of each gate, then the second, ...; a picture that is in two samples with one
# question is asked about once.
_TODO = """
SELECT a.image_id, a.question, k.axis, k.text_clean AS text, k.expected_text
FROM (SELECT image_id, question, min(place) AS place FROM asked GROUP BY ALL) a
JOIN images i ON i.image_id = a.image_id
JOIN kept k ON k.prompt_id = i.prompt_id
ORDER BY a.place, a.image_id, a.question
"""


class _Pictures(Mapping[str, bytes]):
    """The pictures that are asked about, each read when it is looked at: all of them may be gigabytes."""

    def __init__(self, run: Run, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._reader = PixelReader(run)
        self._guard = threading.Lock()  # the page answers in threads

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        with self._guard:
            return self._reader[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


def label(root: Path, asked: Labelling) -> None:
    """Draw or find the sample, ask, and commit the answers."""
    run = open_run(root)
    gates = chosen_gates(run, asked.gate or (), asked.question)
    rater = _check(asked)
    with catalog.open_run(root) as con:
        requests = _requests(con, run, gates, asked)
        with Lock(root) as lock:
            n_before = len(run.store.commits(labels.STAGE))
            commits = [commit_sample(run.store, request) for request in requests]
            if len(run.store.commits(labels.STAGE)) > n_before:
                labels.put_in_force(run.store, lock.epoch)
        samples = [run.store.read(item) for commit in commits if (item := commit.file("label_sample"))]
        todo = _todo(con, samples)
        given = dict(_said_before(con, rater))
    console = terminal.out()
    told = ", ".join(f"{request.frame.name} {len(rows)}" for request, rows in zip(requests, samples, strict=True))
    console.print(f"{len(todo)} questions about pictures near the gates' bounds: {told}", soft_wrap=True)
    if asked.sheet:
        path = write_sheet(root, todo, PixelReader(run))
        console.print(f"fill in the column label (yes, no, unsure) of {path}, then:", soft_wrap=True)
        again = shlex.join([*_again(root, asked), "--labels", str(path)])
        console.print(f"  {terminal.program()} {again}", soft_wrap=True)
        return
    kept = root / f"labels-{rater if rater == 'page' else digest_of(rater)[:8]}.jsonl"
    if asked.labels is not None:
        said = read_labels(asked.labels, todo, "--sheet")
        _save(run, said, rater)
    else:
        with _alone(kept, rater):
            page = LabelPage(todo, _Pictures(run, _images(todo)), kept, asked.port, given)
            said = _from_page(page, len(todo))
            _save(run, said, rater)
            page.forget()
    _tell(root, len(said), len(todo), rater)


def _save(run: Run, said: Sequence[Row], rater: str) -> None:
    with Lock(run.root) as lock:
        labels.save(run.store, said, rater)
        labels.put_in_force(run.store, lock.epoch)


@contextmanager
def _alone(kept: Path, rater: str) -> Iterator[None]:
    """One page a rater: what two people say under one name would be one person's change of mind."""
    path = kept.with_suffix(".lock")
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"{rater} answers on another page now; who else answers gives a name: --rater NAME") from None
    path.unlink(missing_ok=True)


def chosen_gates(run: Run, names: Sequence[str], question: str | None = None) -> dict[str, str]:
    """Gate -> question that judges it. Raises ConfigError for an unknown gate or question, or where none is left."""
    gates = run.recipe.select.gates
    for name in names:
        if name not in gates:
            raise ConfigError(f"{run.root}: no gate {name!r}{nearest(name, gates)}")
    if question is not None and question not in QUESTIONS:
        raise ConfigError(f"--question {question}: expected {', '.join(QUESTIONS)}")
    if names:
        found = {name: question or labels.question_of(run, gates[name]) for name in dict.fromkeys(names)}
    else:
        own = {name: labels.question_of(run, gate) for name, gate in gates.items()}
        found = {name: asked for name, asked in own.items() if question in (None, asked)}
    if not found:
        raise ConfigError(f"{run.root}: no gate to ask about{'' if question is None else f' with question {question}'}")
    return found


def _check(asked: Labelling) -> str:
    """The rater's name; raises ConfigError for what can be refused before any work."""
    if not 1 <= asked.n <= _MOST:
        raise ConfigError(f"--n {asked.n}: expected 1 to {_MOST} pictures")
    if not 0 <= asked.seed < 2**63:
        raise ConfigError(f"--seed {asked.seed}: expected a whole number from 0 up")
    if not 0 <= asked.port < 2**16:
        raise ConfigError(f"--port {asked.port}: expected 0 to 65535")
    if asked.sheet and asked.labels is not None:
        raise ConfigError("--sheet writes what --labels reads: give one of them")
    if asked.labels is not None:
        read_answers(asked.labels)
    rater = asked.rater if asked.rater is not None else asked.labels.name if asked.labels else "page"
    if not 1 <= len(rater) <= 100 or not rater.isprintable() or rater != rater.strip():
        raise ConfigError(f"--rater {rater!r}: expected a name of 1 to 100 characters that can be seen")
    return rater


def _requests(con: duckdb.DuckDBPyConnection, run: Run, gates: Mapping[str, str], asked: Labelling) -> list[Request]:
    frames: list[Frame] = [frame_of(con, run, name) for name in gates]
    there = [frame for frame in frames if frame.images]
    if not there:
        raise ConfigError(f"{run.root}: no picture has what {', '.join(gates)} measure; run render and score first")
    parts = share_out(asked.n, there)
    return [Request(frame, gates[frame.name], n, asked.seed) for frame, n in zip(there, parts, strict=True)]


def _todo(con: duckdb.DuckDBPyConnection, samples: Sequence[pa.Table]) -> list[Row]:
    placed = [
        rows.select(["image_id", "question"]).append_column("place", pa.array(range(rows.num_rows), pa.int64()))
        for rows in samples
    ]
    con.register("asked", pa.concat_tables(placed))
    rows = con.sql(_TODO).to_arrow_table().to_pylist()
    return [{**row, "words": QUESTIONS[row["question"]]} for row in rows]


def _images(todo: Sequence[Row]) -> list[str]:
    return sorted({row["image_id"] for row in todo})


def _said_before(con: duckdb.DuckDBPyConnection, rater: str) -> Iterator[tuple[tuple[str, str], str]]:
    """(image, question), label of what the rater said earlier, also about another gate."""
    rows = con.execute("SELECT image_id, question, label FROM labels WHERE rater = ?", [rater]).fetchall()
    return (((image, question), said) for image, question, said in rows)


def _from_page(page: LabelPage, n: int) -> list[Row]:
    console = terminal.out()
    console.print(f"answer in a browser on this machine: {page.address}", soft_wrap=True)
    if page.n_given:
        console.print(f"{page.n_given} of {n} have an answer from before; it goes on there")
    console.print("Ctrl-C ends it before the last one: what was said so far counts, and the same command goes on there")
    return page.collect()


def _again(root: Path, asked: Labelling) -> list[str]:
    """The command that asks about the same sample."""
    words = ["label", *(word for name in asked.gate or () for word in ("--gate", name)), "--n", str(asked.n)]
    for option, value in (("--question", asked.question), ("--rater", asked.rater)):
        words += [] if value is None else [option, value]
    return [*words, *([] if asked.seed == 0 else ["--seed", str(asked.seed)]), "--run", str(root)]


def _tell(root: Path, n_said: int, n: int, rater: str) -> None:
    console = terminal.out()
    console.print(terminal.safe(f"{n_said} of {n} answered by {rater}"))
    with catalog.open_run(root) as con:
        tell_raters(con)
    console.print(f"next: {terminal.program()} calibrate --run {shlex.quote(str(root))}", soft_wrap=True)


def tell_raters(con: duckdb.DuckDBPyConnection) -> None:
    """Print how far each two raters agree; nothing where none met."""
    for pair in agreements(con):
        kappa = "" if pair.kappa != pair.kappa else f", Cohen's kappa {pair.kappa:.2f}"
        differ = f"{pair.n_differ} differently, which count for nothing" if pair.n_differ else "none differently"
        line = f"{pair.first} and {pair.second} both answered {pair.n} questions, {differ}{kappa}"
        terminal.out().print(terminal.safe(line), soft_wrap=True)
