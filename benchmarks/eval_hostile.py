"""Files that break readers: whether the source `files` and every filter stand them, and whether rows are lost unsaid.

    python benchmarks/eval_hostile.py FOLDER            # reads FOLDER/manifest.jsonl (file, good_rows), prints JSON
    python benchmarks/eval_hostile.py --build FOLDER    # writes such a folder

A child process reads the files, one after the other: through the reader, cleaning and every filter. A traceback, a
death of the child and 60 s without an answer are crashes; an error that promptforge words itself (a line that names
the file) is a refusal and none. A row is accounted for where the source gives its text or a fault; fewer of them than
`good_rows` in a file that was accepted are silent losses.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import io
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))

TIMEOUT_S = 60
ALL_FILTERS = (
    *("safety", "characters", "length", "split", "personal_data", "boilerplate", "specificity", "repetition"),
    *("expected_text", "language", "visualness", "budget"),
)
LINES = ("a red cup", "a blue door", "a green hill")


def look(path: Path) -> dict[str, Any]:
    """What reading one file gives: rows with text, rows with a fault, a refusal or a crash."""
    from eval_filters import cleaned, dropped

    from promptforge.errors import PromptforgeError
    from promptforge.sources import files

    good: list[dict[str, Any]] = []
    faulty = 0
    try:
        source = files.build(files.Params(paths=(str(path),)), 0)
        for part in source.parts():
            for candidate in source.read(part, 0, part.n_rows):
                if candidate.text is None or candidate.fault is not None:
                    faulty += 1
                else:
                    good.append({"prompt": candidate.text})
        if good:
            table = cleaned(good)
            for name in ALL_FILTERS:
                dropped(importlib.import_module(f"promptforge.filters.{name}"), table)
    except PromptforgeError as exc:
        return {"refused": str(exc)}
    except Exception as exc:  # what a user would see as a traceback is what is counted here
        return {"crashed": f"{type(exc).__name__}: {str(exc)[:120]}"}
    return {"good": len(good), "faulty": faulty}


class _Child:
    """The process that reads; started again after a death."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._pump = threading.Thread()
        self._answers: queue.Queue[str] = queue.Queue()

    def ask(self, path: Path) -> dict[str, Any]:
        """What `look` says of a file, or how the child ended."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            answer = self._answers.get(timeout=TIMEOUT_S)
        except queue.Empty:
            self.close()
            return {"crashed": f"no answer within {TIMEOUT_S} s"}
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = process.wait()
            self.close()
            return {"crashed": f"the reading process ended with {code}"}
        found: dict[str, Any] = json.loads(answer)
        return found

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._answers = queue.Queue()
        self._pump = threading.Thread(target=_pump, args=(self._process.stdout, self._answers), daemon=True)
        self._pump.start()
        return self._process

    def close(self) -> None:
        """End the process and free its pipes."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        self._pump.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was written and never read
                    pipe.close()


def _pump(stream: Iterator[str], answers: queue.Queue[str]) -> None:
    for line in stream:
        answers.put(line)
    answers.put("")


def measure(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Crashes and silent losses over the files of a manifest, each with its name."""
    child = _Child()
    crashed, lost, refused, faults, silent = [], [], 0, 0, 0
    try:
        for row in rows:
            found = child.ask((folder / row["file"]).resolve())
            if "crashed" in found:
                crashed.append(f"{row['file']}: {found['crashed']}")
            elif "refused" in found:
                refused += 1
            else:
                faults += found["faulty"]
                missing = int(row["good_rows"] or 0) - found["good"] - found["faulty"]
                if missing > 0:
                    silent += missing
                    lost.append(f"{row['file']}: {missing} of {row['good_rows']}")
    finally:
        child.close()
    return {
        "crashes": len(crashed),
        "silent_losses": silent,
        "n": len(rows),
        "refused_files": refused,
        "named_faults": faults,
        "crashed": crashed,
        "lost": lost,
    }


def _parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def contents() -> list[tuple[str, bytes, int]]:
    """Name, bytes, and the number of rows that a person would call good."""
    text = "\n".join(LINES)
    table = _parquet(text=list(LINES))
    rows = "".join(json.dumps({"text": line}) + "\n" for line in LINES).encode()
    return [
        ("bom.txt", b"\xef\xbb\xbf" + text.encode(), 3),
        ("crlf.txt", "\r\n".join(LINES).encode(), 3),
        ("cr.txt", "\r".join(LINES).encode(), 3),
        ("no_end.txt", text.encode(), 3),
        ("latin1.txt", "a café\na cup\n".encode("latin-1"), 1),
        ("utf16.txt", text.encode("utf-16"), 3),
        ("utf16_no_mark.txt", text.encode("utf-16-le"), 3),
        ("utf32.txt", text.encode("utf-32"), 3),
        ("cut_character.txt", b"a red cup\na blue \xe2\x82\na green hill\n", 2),
        ("nul.txt", b"a cup\na \x00 door\n", 2),
        ("only_nul.txt", b"\x00" * 4096, 0),
        ("random.txt", bytes((i * 7919 + i // 251) % 256 for i in range(20_000)), 0),
        ("empty.txt", b"", 0),
        ("blank.txt", b"\n\n \n\t\n", 0),
        ("blank_between.txt", b"\na red cup\n\n\na blue door\n", 2),
        ("endless.txt", b"x" * 3_000_000 + b"\na cup\n", 2),
        ("controls.txt", b"a \x07 cup\na \x1b[31m door\na \x08\x08 hill\nend\x1a\n", 4),
        ("marks.txt", "a \u202e cup\n‘“”’ « ‹\n\U0001f468\u200d\U0001f469\u200d\U0001f467\n".encode(), 3),
        ("separators.txt", "a cup\u2028 of tea\x85 and milk\x0b\x0c\x1c\na door\n".encode(), 2),
        ("combining.txt", ("a" + "\u0301" * 5000 + "\na cup\n").encode(), 2),
        ("pictures.txt", gzip.compress(text.encode()), 0),
        ("prompts.txt.gz", gzip.compress(text.encode()), 3),
        ("cut.txt.gz", gzip.compress(text.encode() * 100)[:60], 0),
        ("bad_line.jsonl", b'{"text": "a cup"}\n{"text": \n{"text": "a door"}\n', 2),
        ("bom.jsonl", b"\xef\xbb\xbf" + rows, 3),
        ("crlf.jsonl", rows.replace(b"\n", b"\r\n"), 3),
        ("cr.jsonl", rows.replace(b"\n", b"\r"), 3),
        ("utf16.jsonl", rows.decode().encode("utf-16"), 3),
        ("deep.jsonl", b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b'}\n{"text": "a cup"}\n', 1),
        ("deep_object.jsonl", b'{"a":' * 40_000 + b"1" + b"}" * 40_000 + b'\n{"text": "a cup"}\n', 1),
        ("numbers.jsonl", b'{"text": 3}\n{"text": null}\n{"text": "a cup"}\n', 1),
        ("mixed.jsonl", b'"a cup"\n{"text": "a door"}\n["a hill"]\n17\nnull\ntrue\n', 2),
        ("nan.jsonl", b'{"text": NaN}\n{"text": "a cup", "n": Infinity}\n{"n": ' + b"9" * 6000 + b"}\n", 1),
        ("surrogate.jsonl", b'{"text": "a \\ud800 cup"}\n{"text": "a door"}\n', 2),
        ("twice.jsonl", b'{"text": "a", "text": "a cup"}\n', 1),
        ("no_column.jsonl", b'{"words": "a cup"}\n', 0),
        ("late_column.jsonl", b'{"text": "a cup"}\n' * 1500 + b'{"caption": "a door"}\n', 1501),
        ("nested.jsonl", b'{"text": {"en": "a cup"}}\n{"text": ["a", "b"]}\n{"text": "a door"}\n', 1),
        ("strings.jsonl", b'{"text": "a mug: \'hi\'", "expected_text": 7}\n{"text": "a cup"}\n', 2),
        ("two_on_a_line.jsonl", b'{"text": "a cup"}{"text": "a door"}\n{"text": "a hill"}\n', 1),
        ("quotes.csv", b'text\n"a ""red"" cup"\n"a cup\nwith a line"\n', 2),
        ("unclosed.csv", b'text\n"a red cup\na blue door\na green hill\n', 2),
        ("unclosed_within.csv", b'text\na red cup\n"a blue door\na green hill\na "grey" cat\n', 3),
        ("short.csv", b"text,axis\na cup,image_quality\na door\n", 2),
        ("commas.csv", b"text\na red, round cup\na blue door\n", 2),
        ("formula.csv", b"text\n=cmd|' /C calc'!A0\n+1+1\n@SUM(A1)\n-2\n", 4),
        ("same_names.csv", b"text,text\na,b\n", 0),
        ("header_only.csv", b"text\n", 0),
        ("no_header.csv", b"a red cup\na blue door\n", 0),
        ("semicolons.csv", b"text;axis\na cup;image_quality\n", 0),
        ("nul.csv", b"text\na \x00 cup\na door\n", 2),
        ("wide.csv", b"text" + b",x" * 3000 + b"\na cup" + b",1" * 3000 + b"\n", 0),
        ("latin1.csv", "text\na café\na cup\n".encode("latin-1"), 1),
        ("quotes.tsv", b'prompt\tn\n"a cup" on a table\t1\na door\t2\n', 2),
        ("list.json", json.dumps([*LINES, None, 7]).encode(), 3),
        ("object.json", b'{"a": 1', 0),
        ("deep.json", b"[" * 100_000 + b"]" * 100_000, 0),
        ("cut.json", json.dumps(list(LINES)).encode()[:-8], 0),
        ("empty_list.json", b"[]", 0),
        ("lines.json", rows, 3),
        ("latin1.json", '["a café", "a cup"]'.encode("latin-1"), 1),
        ("truncated.parquet", b"PAR1\x00\x00\x00\x00", 0),
        ("cut.parquet", table[: len(table) // 2], 0),
        ("hole.parquet", table[:20] + b"\x00" * 60 + table[80:], 0),
        ("lie.parquet", b"PAR1" + b"\x00" * 40 + b"\xff\xff\xff\x7fPAR1", 0),
        ("nulls.parquet", _parquet(text=["a cup", None, "a door", ""]), 2),
        ("bytes.parquet", _parquet(text=pa.array([b"a cup", b"\xff\xfe"], pa.binary())), 1),
        ("not_utf8.parquet", _parquet(text=_lying_strings()), 1),
        ("numbers.parquet", _parquet(text=[1.5, None, 3.0]), 0),
        ("dictionary.parquet", _parquet(text=pa.array(["a cup", "a cup", "a door"]).dictionary_encode()), 3),
        ("large.parquet", _parquet(text=pa.array(list(LINES), pa.large_string())), 3),
        ("no_rows.parquet", _parquet(text=pa.array([], pa.string())), 0),
        ("lists.parquet", _parquet(text=[["a cup"], ["a door"]]), 0),
        ("really_parquet.csv", table, 3),
        ("really_csv.parquet", b"text\na cup\n", 1),
        ("really_json.txt", rows, 3),
        ("prompts.docx", b"PK\x03\x04", 0),
        ("no_ending", text.encode(), 3),
        ("UPPER.TXT", text.encode(), 3),
        ("blank in name ü.txt", text.encode(), 3),
    ]


def _lying_strings() -> pa.Array:
    """A string column whose second value is not UTF-8."""
    data = pa.array([b"a cup", b"\xff\xfe"], pa.binary())
    return pa.Array.from_buffers(pa.string(), len(data), data.buffers())


def build(folder: Path) -> None:
    """Write the files and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    made = contents()
    for name, content, _ in made:
        (folder / name).write_bytes(content)
    manifest = "".join(
        json.dumps({"file": name, "good_rows": good}, ensure_ascii=False) + "\n" for name, _, good in made
    )
    (folder / "manifest.jsonl").write_text(manifest, encoding="utf-8")


def main() -> int:
    """Measure, build, or answer as the child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--build", type=Path, metavar="FOLDER")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        for line in sys.stdin:
            sys.stdout.write(json.dumps(look(Path(line.rstrip("\n")))) + "\n")
            sys.stdout.flush()
        return 0
    if given.build:
        build(given.build)
        return 0
    if given.folder is None:
        parser.error("give a folder, or --build FOLDER")
    rows = [json.loads(line) for line in (given.folder / "manifest.jsonl").read_text("utf-8").splitlines() if line]
    sys.stdout.write(json.dumps(measure(given.folder, rows), indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
