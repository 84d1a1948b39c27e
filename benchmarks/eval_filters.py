"""How good the text filters are on labelled prompts, with the settings that a run has by default.

    make eval-filters LABELS=DIR REPORT=out.json
    python benchmarks/eval_filters.py --build DATA --out DIR    # a development set out of real prompts

Reads whatever of these DIR holds, one JSON object a line, prints a table and writes JSON:

    contamination/contamination.jsonl (prompt, label contaminated|clean, form), benchmark_reference.jsonl (prompt, set)
    neardup/pairs.jsonl (a, b, label), clusters.jsonl (prompt, cluster_id)
    visualness/visualness.jsonl (prompt, label visual|non_visual)
    text_extraction/text_extraction.jsonl (prompt, expected_text, optional_text)
    safety/safety.jsonl (prompt, label safe|unsafe, kind)
    language/language.jsonl (prompt, language): from five words on, is it told whether this is English?
    ocr/transcripts.jsonl (file, transcript, text), hostile/manifest.jsonl (file, good_rows)

Text extraction: a row is right where the same strings are found, in any order, after trimming blanks and final commas
and points; optional ones count neither way. OCR: cer is edits over characters of all pictures with text, NFKC and case
folded; the text scorer is asked for the transcript: `unreadable` is an abstention, `misread` is wrong and sure, as is a
line of confidence 0.9 where there is no text. Hostile files go through the reader, cleaning and every filter: any
exception but a refusal that promptforge words itself is a crash; a good row that an accepted file does not give, and no
fault names, is a silent loss. A folder's other figures stay when one of them fails; the table then says so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from promptforge import targets, texts
from promptforge.errors import PromptforgeError
from promptforge.filters import language, safety, visualness
from promptforge.protocols import Picture
from promptforge.sources import files

sys.path.insert(0, str(Path(__file__).resolve().parent))

Row = dict[str, Any]
Figures = dict[str, Any]
CUTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
NO_TEXT_CONFIDENCE = 0.9


def rows_of(path: Path) -> list[Row]:
    """The rows of a JSON lines file; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


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


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a positive row scores above a negative one; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(labels.sum())
    return float((ranks[labels].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def measure_visualness(folder: Path) -> Figures:
    """AUC of the probability, and what each cut drops of either label; `kept_words` is by the filter's own rule."""
    rows = rows_of(folder / "visualness.jsonl")
    visual = np.array([row["label"] == "visual" for row in rows])
    table = cleaned(rows)
    scores = visualness.score(table["text_clean"])
    cuts = []
    for cut in CUTS:
        gone = dropped(visualness, table, min_visual=cut)
        cuts.append(
            {"min_visual": cut, "non_visual_dropped": share(gone, ~visual), "visual_dropped": share(gone, visual)}
        )
    return {"auc": area_under_curve(scores, visual), "n": len(rows), "sweep": cuts}


def measure_extraction(folder: Path) -> Figures:
    """Share of rows whose strings are found exactly."""

    def bare(strings: Iterable[str] | None) -> list[str]:
        return sorted(string.strip().rstrip(",. ").strip() for string in strings or ())

    right, by_set = [], defaultdict(list)
    for row in rows_of(folder / "text_extraction.jsonl"):
        found = bare(targets.parse(texts.clean(row["prompt"]).text).strings)
        optional = set(bare(row.get("optional_text")))
        wanted = [string for string in bare(row["expected_text"]) if string not in optional]
        right.append([string for string in found if string not in optional] == wanted)
        by_set[row.get("set") or "all"].append(right[-1])
    return {
        "rows_exact": float(np.mean(right)),
        "n": len(right),
        "by_set": {name: float(np.mean(each)) for name, each in sorted(by_set.items())},
    }


def measure_safety(folder: Path) -> Figures:
    """Unsafe rows dropped, safe rows dropped, and what allowing listed words would change."""
    rows = rows_of(folder / "safety.jsonl")
    unsafe = np.array([row["label"] == "unsafe" for row in rows])
    kinds = np.array([str(row.get("kind")) for row in rows])
    table = cleaned(rows)
    gone = dropped(safety, table)
    by_kind = {kind: share(gone, unsafe & (kinds == kind)) for kind in sorted(set(kinds[unsafe]))}
    alarms = {kind: share(gone, ~unsafe & (kinds == kind)) for kind in sorted(set(kinds[~unsafe]))}
    cuts = []
    for n in (0, 1, 2):
        at = dropped(safety, table, max_words=n)
        cuts.append({"max_words": n, "recall": share(at, unsafe), "false_positive_rate": share(at, ~unsafe)})
    return {
        "recall": share(gone, unsafe),
        "false_positive_rate": share(gone, ~unsafe),
        "recall_by_kind": by_kind,
        "false_positive_rate_by_kind": alarms,
        "n": len(rows),
        "sweep": cuts,
    }


def measure_language(folder: Path) -> Figures:
    """Share of prompts of five words and more that are told to be English or not."""
    rows = rows_of(folder / "language.jsonl")
    english = np.array([row["language"] == "en" for row in rows])
    table = cleaned(rows)
    spaced = np.array([code not in {"zh", "ja", "th"} for code in (row["language"] for row in rows)])
    long = (table["n_words"].to_numpy() >= 5) | ~spaced
    cuts = []
    for probability in (0.3, 0.5, 0.7, 0.9):
        right = dropped(language, table, min_probability=probability) != english
        cuts.append(
            {
                "min_probability": probability,
                "accuracy": share(right, long),
                "english_kept": share(right, long & english),
                "others_dropped": share(right, long & ~english),
            }
        )
    right = dropped(language, table) != english
    return {"accuracy": share(right, long), "n": int(long.sum()), "sweep": cuts}


def measure_ocr(folder: Path) -> Figures:
    """Reading and judging of every picture by RapidOCR, as the text scorer does it by default."""
    # Loaded here: an engine that is not installed takes no other part with it.
    from promptforge.models.rapidocr import RapidOcrReader
    from promptforge.scorers.reading.metrics import edit_distance, folded
    from promptforge.scorers.text import Text

    reader = RapidOcrReader()
    scorer = Text(reader)
    edits = characters = n = abstained = wrong = 0
    for row in rows_of(folder / "transcripts.jsonl"):
        with Image.open(folder / row["file"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        lines = reader.read(pixels)
        n += 1
        wanted = tuple(line for line in row["transcript"] if line.strip())
        if not wanted:
            wrong += any(line.confidence >= NO_TEXT_CONFIDENCE for line in lines)
            continue
        truth = folded(row.get("text") or " ".join(wanted))
        edits += edit_distance(folded(" ".join(line.text for line in lines)), truth)
        characters += len(truth)
        scores = scorer.score(Picture(pixels, "", "text_rendering", wanted, None))
        verdict = next(score.detail for score in scores if score.metric == "verdict")
        abstained += verdict == "unreadable"
        wrong += verdict == "misread"
    return {
        "cer": edits / max(characters, 1),
        "abstain_share": abstained / n,
        "wrong_and_sure_share": wrong / n,
        "n": n,
    }


def measure_hostile(folder: Path) -> Figures:
    """Files that break readers."""
    crashes: list[str] = []
    losses = told = named = 0
    for row in rows_of(folder / "manifest.jsonl"):
        good = faulty = 0
        try:
            source = files.build(files.Params(paths=(str(folder / row["file"]),)), 0)
            prompts = []
            for part in source.parts():
                for candidate in source.read(part, 0, part.n_rows):
                    if candidate.text is None or candidate.fault is not None:
                        faulty += 1
                    else:
                        prompts.append({"prompt": candidate.text})
            good = len(prompts)
            if prompts:
                table = cleaned(prompts)
                for name in ALL_FILTERS:
                    dropped(importlib.import_module(f"promptforge.filters.{name}"), table)
        except PromptforgeError:
            told += 1
            continue
        except Exception as exc:  # what a user would see as a traceback is what is counted here
            crashes.append(f"{row['file']}: {type(exc).__name__}: {str(exc)[:120]}")
            continue
        named += faulty
        losses += max(0, int(row["good_rows"] or 0) - good - faulty)
    return {
        "crashes": len(crashes),
        "silent_losses": losses,
        "refused_files": told,
        "named_faults": named,
        "crashed": crashes,
    }


ALL_FILTERS = (
    *("safety", "characters", "length", "split", "personal_data", "boilerplate", "specificity", "repetition"),
    *("expected_text", "language", "visualness", "budget"),
)

#: Name in the report -> the file that must be there, and what measures the folder.
PARTS: dict[str, tuple[str, Callable[[Path], Figures]]] = {
    "visualness": ("visualness.jsonl", measure_visualness),
    "text_extraction": ("text_extraction.jsonl", measure_extraction),
    "safety": ("safety.jsonl", measure_safety),
    "language": ("language.jsonl", measure_language),
    "ocr": ("transcripts.jsonl", measure_ocr),
    "hostile": ("manifest.jsonl", measure_hostile),
}
#: Measured by scripts of their own, which take the whole folder.
OTHERS = {"neardup": ("pairs.jsonl", "eval_neardup"), "contamination": ("contamination.jsonl", "eval_contamination")}


def measure(labels: Path) -> tuple[Figures, list[str]]:
    """Every figure that the folder allows, and a line for each that could not be had."""
    found: Figures = {}
    notes = []
    for name, (file, by) in PARTS.items():
        if not (labels / name / file).is_file():
            continue
        try:
            found[name] = by(labels / name)
        except Exception as exc:  # the other parts are worth having
            notes.append(f"{name}: not measured: {type(exc).__name__}: {exc}")
    for name, (file, script) in OTHERS.items():
        if not (labels / name / file).is_file():
            continue
        try:
            module = importlib.import_module(script)
        except ImportError as exc:
            notes.append(f"{name}: not measured: benchmarks/{script}.py cannot be imported ({exc})")
            continue
        found[name] = dict(module.measure(labels))
        if hasattr(module, "sweep"):
            found[name]["sweep"] = module.sweep(labels)
    return found, notes


def lines_of(found: Figures) -> list[str]:
    """The table: a line a figure, then the sweeps."""
    lines, sweeps = [], []
    for name, figures in found.items():
        for key, value in figures.items():
            if key == "sweep":
                sweeps += [f"{name}  " + "  ".join(f"{k}={_shown(v)}" for k, v in row.items()) for row in value]
            elif isinstance(value, dict):
                lines += [f"{name}.{key}.{inner:<24} {_shown(each)}" for inner, each in value.items()]
            else:
                lines.append(f"{f'{name}.{key}':<40} {_shown(value)}")
    return [*lines, *(["", "at other thresholds:", *sweeps] if sweeps else [])]


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
    print("\n".join([*lines_of(found), *notes]))
    if not found and not notes:
        print(f"{given.labels}: none of {', '.join([*PARTS, *OTHERS])} is in it", file=sys.stderr)
        return 2
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
