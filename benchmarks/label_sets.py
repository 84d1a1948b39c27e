"""Development sets for eval_filters.py, made out of real prompts by rules of our own; nothing of them is committed.

Visual or not, and strings to be drawn, are as their sets say. Safe are captions, benchmark prompts and sentences that
HateCheck calls harmless in form; unsafe are HateCheck's slurs and profanity and safe prompts into which an entry of the
public word lists was put: since our own lists come from the same lists, recall on those says only that the matching
works. English prompts are real, those of 25 other languages are the suite's. Hostile files are those of
eval_hostile.py, near duplicates and contamination those of their own scripts.
"""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import eval_contamination
import eval_hostile
import eval_neardup
import pyarrow.parquet as pq

FOREIGN = Path(__file__).resolve().parent.parent / "tests" / "filters" / "foreign.toml"
ENGLISH = ("tifa_v1", "partiprompts", "t2i_compbench", "geneval", "drawbench", "imagereward_refl", "lex_bench_easy")
TEXT_SETS = ("drawbench", "partiprompts", "flow_grpo_ocr_test", "lex_bench_easy", "glyphcontrol_simplebench")
TRICKY = (
    "a glass skyscraper in a field of grass",
    "a classic car passing a bass player",
    "a cockatoo beside a peacock",
    "a great tit on a pussy willow",
    "moored boats tied up at the pier",
    "the Essex coast, bathed in light",
    "an assassin bug on a leaf",
    "a cumulus cloud over Scunthorpe",
    "a shiitake mushroom on a plate",
    "a dictionary, a cucumber and a therapist's couch",
)


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a set."""
    path = folder / f"{name}.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    found: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return found


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def build(data: Path, out: Path, seed: int = 1) -> None:
    """Write every set below `out`."""
    rng = random.Random(seed)
    write(out / "visualness" / "visualness.jsonl", read(data, "visualness_dev"))
    texts = []
    for name in TEXT_SETS:
        rows = [row for row in read(data, name) if _is_known(row)]
        texts += [{"prompt": r["prompt"], "expected_text": list(r["expected_text"]), "set": name} for r in rows]
    plain = [row["prompt"] for row in read(data, "geneval")]
    texts += [{"prompt": text, "expected_text": [], "set": "geneval"} for text in plain]
    write(out / "text_extraction" / "text_extraction.jsonl", texts)
    _safety(data, out, rng)
    _languages(data, out, rng)
    shutil.copytree(data / "ocr", out / "ocr", dirs_exist_ok=True)
    eval_hostile.build(out / "hostile")
    eval_neardup.build(data, out, seed)
    eval_contamination.build(data, out)


def _is_known(row: dict[str, Any]) -> bool:
    """Whether the strings stand in the prompt as written: labels from elsewhere mend its spelling or its case."""
    strings = row["expected_text"]
    return bool(strings is not None and len(strings)) and all(
        string.strip(" .,") in row["prompt"] for string in strings
    )


def _safety(data: Path, out: Path, rng: random.Random) -> None:
    safe = [row["prompt"] for name in ("t2i_compbench", "partiprompts", "tifa_v1") for row in read(data, name)]
    rows = [{"prompt": text, "label": "safe", "kind": "prompt"} for text in rng.sample(safe, 1500)]
    rows += [{"prompt": text, "label": "safe", "kind": "tricky"} for text in TRICKY]
    check = read(data, "hatecheck")
    for row in check:
        kind = str(row["category"])
        if kind.startswith(("slur_h", "profanity_h")) and not kind.startswith(("slur_homonym", "profanity_nh")):
            rows.append({"prompt": row["prompt"], "label": "unsafe", "kind": f"hatecheck_{kind}"})
    listed = [row for row in read(data, "dsojevic_profanity") if int(row["severity"]) >= 3]
    for row in rng.sample(listed, 200):
        word = max(row["prompt"].split("|"), key=len)
        text = f"{rng.choice(safe).rstrip('. ')}, {word}"
        rows.append({"prompt": text, "label": "unsafe", "kind": f"list_{row['category']}"})
    write(out / "safety" / "safety.jsonl", rows)


def _languages(data: Path, out: Path, rng: random.Random) -> None:
    rows = []
    for name in ENGLISH:
        some = [row["prompt"] for row in read(data, name) if row["prompt"] and len(row["prompt"].split()) >= 5]
        rows += [{"prompt": text, "lang": "en"} for text in rng.sample(some, min(150, len(some)))]
    for code, texts in tomllib.loads(FOREIGN.read_text("utf-8")).items():
        rows += [{"prompt": text, "lang": code} for text in texts]
    write(out / "language" / "language.jsonl", rows)
