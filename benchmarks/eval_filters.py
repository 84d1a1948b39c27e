"""How good the text filters are on labelled prompts, beside their speed, with the settings that a run has by default.

    make eval-filters LABELS=DIR REPORT=out.json
    python benchmarks/eval_filters.py --build DATA --out DIR    # development sets out of real prompts

Reads whatever of these DIR holds, one JSON object a line, prints one table and writes JSON:

    contamination/contamination.jsonl (prompt, label contaminated|clean, form), benchmark_reference.jsonl (prompt, set)
    neardup/pairs.jsonl (a, b, label), clusters.jsonl (prompt, cluster_id)
    visualness/visualness.jsonl (prompt, label visual|non_visual)
    text_extraction/text_extraction.jsonl (prompt, expected_text, optional_text)
    safety/safety.jsonl (prompt, label safe|unsafe, kind)
    language/language.jsonl (prompt, lang): from five words on, is it told whether this is English?
    ocr/transcripts.jsonl (file, transcript, text), hostile/manifest.jsonl (file, good_rows)

Text extraction: a row is right where the same strings are found, in any order, after cleaning (as the prompt is) and
trimming blanks and final commas and points; optional ones count neither way. eval_ocr.py and eval_hostile.py say what
their figures mean.

Speed is measured in this very call, by the code that gives the figures: labelled prompts a second of processor time,
repeated to 20,000 rows where a filter takes a column; near duplicates from the n-grams on, contamination with cleaning,
scenes and its index, each prompt once; ocr pictures with up to three looks. A part that fails is named in a line and
leaves the others' figures; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from promptforge import targets, texts
from promptforge.filters import language, safety, visualness

sys.path.insert(0, str(Path(__file__).resolve().parent))

Row = dict[str, Any]
Figures = dict[str, Any]
CUTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
TIMED_ROWS = 20_000
NO_BLANKS = frozenset({"zh", "ja", "th"})  # languages of which a count of words says little


class LabelFault(Exception):
    """A labelled file cannot be used; the message names file and line."""


def rows_of(path: Path, *needed: str) -> list[Row]:
    """The rows of a JSON lines file; none where there is no file. Raises LabelFault for a row that lacks a key."""
    if not path.is_file():
        return []
    rows = []
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise LabelFault(f"{path}: cannot be read as UTF-8: {exc}") from exc
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise LabelFault(f"{path}, line {number}: not JSON: {exc}") from exc
        lacking = [name for name in needed if not isinstance(row, dict) or name not in row]
        if lacking:
            raise LabelFault(f"{path}, line {number}: no {', '.join(lacking)}; expected {', '.join(needed)}")
        rows.append(row)
    if not rows:
        raise LabelFault(f"{path}: holds no row")
    return rows


def cleaned(rows: Sequence[Row]) -> pa.Table:
    """Prompts as the filters get them: cleaned, with the strings that are parsed from them."""
    clean = [texts.clean(row["prompt"]).text for row in rows]
    found = [targets.parse(text) for text in clean]
    columns = {
        "text_clean": pa.array(clean, pa.string()),
        "expected_text": pa.array([each.strings for each in found], pa.list_(pa.string())),
        "expected_origin": pa.array([each.origin for each in found], pa.string()),
        "axis": pa.array(["image_quality"] * len(clean), pa.string()),
        "repairs": pa.array([[]] * len(clean), pa.list_(pa.string())),
        "split": pa.array([None] * len(clean), pa.string()),
        "n_words": pa.array([texts.n_words(text) for text in clean], pa.int32()),
        "n_chars": pa.array([len(text) for text in clean], pa.int32()),
    }
    return pa.table(columns)


def dropped(module: Any, table: pa.Table, **params: Any) -> np.ndarray:
    """Which rows a filter drops."""
    check = module.build(module.Params(**params))
    found = np.zeros(table.num_rows, bool)
    found[[each.row for each in check(table.select(list(check.columns))) if each.verdict == "drop"]] = True
    return found


def share(mask: np.ndarray, of: np.ndarray) -> float | None:
    """Share of the rows `of` that `mask` marks; None where there are none."""
    return float(mask[of].mean()) if of.any() else None


def known_labels(path: Path, rows: Sequence[Row], *known: str) -> None:
    """Raise LabelFault for a label that is none of these: it would count as the other one."""
    strange = sorted({str(row["label"]) for row in rows} - set(known))
    if strange:
        raise LabelFault(f"{path}: labels {', '.join(strange[:5])}; expected {', '.join(known)}")


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a positive row scores above a negative one; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(labels.sum())
    return float((ranks[labels].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def rate(work: Callable[[pa.Table], Any], table: pa.Table) -> float:
    """Rows a second of processor time, of the table repeated to 20,000 rows."""
    many = pa.concat_tables([table] * -(-TIMED_ROWS // table.num_rows)).combine_chunks()
    started = time.process_time()
    work(many)
    return float(many.num_rows / max(time.process_time() - started, 1e-9))


def measure_visualness(folder: Path) -> Figures:
    """AUC of the probability, and what each cut drops of either label by the filter's own rule."""
    rows = rows_of(folder / "visualness.jsonl", "prompt", "label")
    known_labels(folder / "visualness.jsonl", rows, "visual", "non_visual")
    visual = np.array([row["label"] == "visual" for row in rows])
    table = cleaned(rows)
    cuts = []
    for cut in CUTS:
        gone = dropped(visualness, table, min_visual=cut)
        cuts.append(
            {"min_visual": cut, "non_visual_dropped": share(gone, ~visual), "visual_dropped": share(gone, visual)}
        )
    return {
        "auc": area_under_curve(visualness.score(table["text_clean"]), visual),
        "n": len(rows),
        "per_s": rate(lambda many: dropped(visualness, many), table),
        "sweep": cuts,
    }


def measure_extraction(folder: Path) -> Figures:
    """Share of rows whose strings are found exactly."""

    def bare(strings: Iterable[str] | None) -> list[str]:
        return sorted(texts.clean(string).text.strip().rstrip(",. ").strip() for string in strings or ())

    rows = rows_of(folder / "text_extraction.jsonl", "prompt", "expected_text")
    clean = [texts.clean(row["prompt"]).text for row in rows]
    started = time.process_time()
    parsed = [targets.parse(text).strings for text in clean]
    seconds = time.process_time() - started
    right, by_set = [], defaultdict(list)
    for row, strings in zip(rows, parsed, strict=True):
        optional = set(bare(row.get("optional_text")))
        wanted = [string for string in bare(row["expected_text"]) if string not in optional]
        right.append([string for string in bare(strings) if string not in optional] == wanted)
        by_set[row.get("set") or "all"].append(right[-1])
    plain = np.array([not row["expected_text"] for row in rows])
    return {
        "rows_exact": float(np.mean(right)),
        "rows_exact_with_text": share(np.array(right), ~plain),
        "found_where_none_is": share(~np.array(right), plain),
        "n": len(right),
        "per_s": len(rows) / max(seconds, 1e-9),
        "by_set": {name: float(np.mean(each)) for name, each in sorted(by_set.items())},
    }


def measure_safety(folder: Path) -> Figures:
    """Unsafe rows dropped, safe rows dropped, and what allowing listed words would change."""
    rows = rows_of(folder / "safety.jsonl", "prompt", "label")
    known_labels(folder / "safety.jsonl", rows, "safe", "unsafe")
    unsafe = np.array([row["label"] == "unsafe" for row in rows])
    kinds = np.array([str(row.get("kind")) for row in rows])
    table = cleaned(rows)
    gone = dropped(safety, table)
    cuts = []
    for n in (0, 1, 2):
        at = dropped(safety, table, max_words=n)
        cuts.append({"max_words": n, "recall": share(at, unsafe), "false_positive_rate": share(at, ~unsafe)})
    return {
        "recall": share(gone, unsafe),
        "false_positive_rate": share(gone, ~unsafe),
        "recall_by_kind": {kind: share(gone, unsafe & (kinds == kind)) for kind in sorted(set(kinds[unsafe]))},
        "false_positive_rate_by_kind": {
            kind: share(gone, ~unsafe & (kinds == kind)) for kind in sorted(set(kinds[~unsafe]))
        },
        "n": len(rows),
        "per_s": rate(lambda many: dropped(safety, many), table),
        "sweep": cuts,
    }


def measure_language(folder: Path) -> Figures:
    """Share of prompts of five words and more that are told to be English or not."""
    rows = rows_of(folder / "language.jsonl", "prompt")
    codes = [row.get("lang") or row.get("language") for row in rows]
    if None in codes:
        raise LabelFault(f"{folder / 'language.jsonl'}: row {codes.index(None) + 1} has no lang")
    english = np.array([str(code).lower().split("-")[0] in ("en", "eng", "english") for code in codes])
    table = cleaned(rows)
    spaced = np.array([code not in NO_BLANKS for code in codes])
    long = (table["n_words"].to_numpy() >= 5) | ~spaced
    cuts = []
    for probability in (0.3, 0.5, 0.7, 0.9):
        gone = dropped(language, table, min_probability=probability)
        cuts.append(
            {
                "min_probability": probability,
                "accuracy": share(gone != english, long),
                "english_kept": share(~gone, long & english),
                "others_dropped": share(gone, long & ~english),
            }
        )
    return {
        "accuracy": share(dropped(language, table) != english, long),
        "n": int(long.sum()),
        "per_s": rate(lambda many: dropped(language, many), table),
        "sweep": cuts,
    }


def measure_ocr(folder: Path) -> Figures:
    """Reading and judging of every picture by the default engine."""
    rows = rows_of(folder / "transcripts.jsonl", "file", "transcript")
    return dict(importlib.import_module("eval_ocr").measure(folder, rows))  # an engine may not be installed


def measure_hostile(folder: Path) -> Figures:
    """Files that break readers, each read in a child process."""
    rows = rows_of(folder / "manifest.jsonl", "file", "good_rows")
    return dict(importlib.import_module("eval_hostile").measure(folder, rows))


def measure_neardup(folder: Path) -> Figures:
    """Near duplicates by the settings of [dedup], a run over every prompt of a file."""
    prompts = {row[side] for row in rows_of(folder / "pairs.jsonl", "a", "b", "label") for side in ("a", "b")}
    n = len(prompts) + len(rows_of(folder / "clusters.jsonl", "prompt", "cluster_id"))
    return _by_script("eval_neardup", folder.parent, n)


def measure_contamination(folder: Path) -> Figures:
    """Benchmark prompts found by the settings of [decontaminate]."""
    n = len(rows_of(folder / "contamination.jsonl", "prompt", "label"))
    rows_of(folder / "benchmark_reference.jsonl", "prompt")
    return _by_script("eval_contamination", folder.parent, n)


def _by_script(name: str, labels: Path, n: int) -> Figures:
    module = importlib.import_module(name)
    started = time.process_time()
    found = dict(module.measure(labels))
    rates = {"n": n, "per_s": n / (time.process_time() - started)}
    return {**rates, **found, "sweep": module.sweep(labels)}


#: Name in the report -> the file that must be there, and what measures the folder.
PARTS: dict[str, tuple[str, Callable[[Path], Figures]]] = {
    "contamination": ("contamination.jsonl", measure_contamination),
    "neardup": ("pairs.jsonl", measure_neardup),
    "visualness": ("visualness.jsonl", measure_visualness),
    "text_extraction": ("text_extraction.jsonl", measure_extraction),
    "safety": ("safety.jsonl", measure_safety),
    "language": ("language.jsonl", measure_language),
    "ocr": ("transcripts.jsonl", measure_ocr),
    "hostile": ("manifest.jsonl", measure_hostile),
}


def measure(labels: Path) -> tuple[Figures, list[str]]:
    """Every figure that the folder allows, and a line for each part that was there and could not be measured."""
    found: Figures = {}
    notes = []
    for name, (file, by) in PARTS.items():
        if not (labels / name / file).is_file():
            continue
        try:
            found[name] = by(labels / name)
        except LabelFault as exc:
            notes.append(f"{name}: not measured: {exc}")
        except Exception as exc:  # the other parts are worth having
            notes.append(f"{name}: not measured: {type(exc).__name__}: {exc}")
    return found, notes


def lines_of(found: Figures) -> list[str]:
    """The table, a line a figure with the speed beside a part's first; then details and sweeps."""
    lines = [f"{'figure':<34} {'value':>9} {'of':>7} {'a second':>10}"]
    details: list[str] = []
    sweeps: list[str] = []
    for name, figures in found.items():
        beside = f" {figures.get('n', ''):>7} {figures['per_s']:>10,.0f}" if "per_s" in figures else ""
        for key, value in figures.items():
            if key == "sweep":
                sweeps += [f"{name}  " + "  ".join(f"{k}={_shown(v)}" for k, v in row.items()) for row in value]
            elif isinstance(value, dict):
                details += [f"{name}.{key}.{inner:<24} {_shown(each)}" for inner, each in value.items()]
            elif isinstance(value, list):
                details += [f"{name}.{key}: {each}" for each in value]
            elif key not in ("n", "per_s"):
                lines.append(f"{f'{name}.{key}':<34} {_shown(value):>9}{beside}")
                beside = ""
    more = ["", "in parts:", *details] if details else []
    return [*lines, *more, *(["", "at other thresholds:", *sweeps] if sweeps else [])]


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> int:
    """Measure and print, or build a development set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--build", type=Path, metavar="DATA", help="folder of real prompts")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.build:
        if given.out is None:
            parser.error("--build needs --out DIR")
        importlib.import_module("label_sets").build(given.build, given.out)
        return 0
    if given.labels is None or not given.labels.is_dir():
        parser.error(f"{given.labels}: no such folder of labelled sets")
    found, notes = measure(given.labels)
    if not found and not notes:
        print(f"{given.labels}: none of {', '.join(PARTS)} is in it", file=sys.stderr)
        return 2
    print("\n".join(lines_of(found)))
    if absent := [f"{name}/{file}" for name, (file, _) in PARTS.items() if not (given.labels / name / file).is_file()]:
        print(f"not in {given.labels}: {', '.join(absent)}")
    for note in notes:
        print(note, file=sys.stderr)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
