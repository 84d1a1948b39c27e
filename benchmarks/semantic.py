"""What semantic duplicates add to near ones, and how fast the exact search is.

    python benchmarks/semantic.py FROM --model DIR [--report out.json]   # FROM: folder of real prompts, as for
                                                                         # eval_neardup.py --build; DIR: the encoder
    python benchmarks/semantic.py --speed           # 100,000 vectors of 384 numbers; seconds of processor time

Labelled pairs are made of real prompts: the duplicates and distinct ones of eval_neardup.py, and paraphrases by rules
below (synonyms, another order of the clauses, a relation told from its other side, an attribute behind its thing). Such
rules say how the search does on these changes, not how people paraphrase. A pair counts as merged where near or
semantic duplicates of a run with that threshold would join it; `near` is without any vectors.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

THRESHOLDS = (0.80, 0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)
SYNONYMS = (
    *(("couch", "sofa"), ("sofa", "couch"), ("bicycle", "bike"), ("bike", "bicycle"), ("car", "automobile")),
    *(("television", "TV"), ("airplane", "plane"), ("kid", "child"), ("child", "kid"), ("rug", "carpet")),
    *(("large", "big"), ("big", "large"), ("small", "little"), ("little", "small"), ("beautiful", "pretty")),
    *(("next to", "beside"), ("beside", "next to"), ("on top of", "atop"), ("forest", "woods"), ("rock", "stone")),
    *(
        ("road", "street"),
        ("photo", "photograph"),
        ("picture", "image"),
        ("lady", "woman"),
        ("cell phone", "mobile phone"),
    ),
)
_THING = r"an? [\w -]+?"
_SIDES = {
    "on the left of": "on the right of",
    "on the right of": "on the left of",
    "on top of": "under",
    "above": "below",
    "below": "above",
    "behind": "in front of",
    "in front of": "behind",
}


def _synonym(text: str, _: random.Random) -> str | None:
    for old, new in SYNONYMS:
        found = re.search(rf"\b{old}\b", text, re.IGNORECASE)
        if found:
            return text[: found.start()] + new + text[found.end() :]
    return None


def _other_order(text: str, _: random.Random) -> str | None:
    found = re.fullmatch(rf"({_THING}) and ({_THING})", text.strip(". "))
    return f"{found[2]} and {found[1]}" if found else None


def _other_side(text: str, _: random.Random) -> str | None:
    found = re.fullmatch(rf"({_THING}) ({'|'.join(_SIDES)}) ({_THING})", text.strip(". "))
    return f"{found[3]} {_SIDES[found[2]]} {found[1]}" if found else None


def _attribute_behind(text: str, _: random.Random) -> str | None:
    found = re.search(r"\b(an?) (red|green|blue|black|white|yellow|brown|wooden|metallic|fluffy) (\w+)", text)
    return text[: found.start()] + f"a {found[3]} that is {found[2]}" + text[found.end() :] if found else None


def _place_first(text: str, _: random.Random) -> str | None:
    found = re.fullmatch(r"([^,]{8,}) (in|at|on) ((?:the|an?) \w+)", text.strip(". "))
    return f"{found[2].title()} {found[3]}, {found[1][0].lower()}{found[1][1:]}" if found else None


PARAPHRASE: Mapping[str, Callable[[str, random.Random], str | None]] = {
    "synonym": _synonym,
    "other_order": _other_order,
    "other_side": _other_side,
    "attribute_behind": _attribute_behind,
    "place_first": _place_first,
}


def labelled(source: Path, seed: int = 1, each: int = 120) -> list[dict[str, Any]]:
    """Pairs with label and form: those of eval_neardup.py, and paraphrases of the same prompts."""
    import eval_neardup

    with tempfile.TemporaryDirectory() as folder:
        eval_neardup.build(source, Path(folder), seed, each)
        rows = eval_neardup.read_jsonl(Path(folder) / "neardup" / "pairs.jsonl")
    rng, prompts = random.Random(seed), eval_neardup._prompts(source)
    for form, change in PARAPHRASE.items():
        made = 0
        for prompt in rng.sample(prompts, len(prompts)):
            other = change(prompt, rng)
            if other and other != prompt and made < each:
                rows.append({"a": prompt, "b": other, "label": "paraphrase", "form": form})
                made += 1
    return rows


def measure(source: Path, model: str) -> dict[str, Any]:
    """Shares of each label that are merged, by threshold, with and without the check of telling words."""
    import eval_neardup

    from promptforge import scenes, targets, texts
    from promptforge.models import sentences
    from promptforge.stages.meaning import telling
    from promptforge.stages.resemblance import apart
    from promptforge.stages.resemblance.settings import DedupSettings

    rows = labelled(source)
    number: dict[str, int] = {}
    for row in rows:
        for name in ("a", "b"):
            number.setdefault(row[name], len(number))
    clean = [texts.clean(prompt).text for prompt in number]
    judge = eval_neardup.Judge(list(number), DedupSettings())
    begun = time.process_time()
    vectors = sentences.load(model, None).encode(clean).astype(np.float16).astype(np.float64)
    encode_s = time.process_time() - begun
    seen, drawn, told = [scenes.parse(t) for t in clean], [targets.parse(t).strings for t in clean], telling.sets(clean)
    for row in rows:
        a, b = number[row["a"]], number[row["b"]]
        row["near"] = judge.merged(a, b)
        row["cosine"] = vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
        row["scenes"] = not apart.scenes_differ(seen[a], seen[b]) and drawn[a] == drawn[b]
        row["words"] = row["scenes"] and told[a] == told[b] and not telling.contradict(clean[a], clean[b])
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["label"]].append(row)
        groups[f"{row['label']}/{row['form']}"].append(row)
    table: list[dict[str, Any]] = [{"threshold": None, "words": None, **_shares(groups, lambda row: bool(row["near"]))}]
    for held in ("words", "scenes"):
        for cut in THRESHOLDS:
            merged = lambda row, held=held, cut=cut: row["near"] or (row["cosine"] >= cut and row[held])  # noqa: E731
            table.append({"threshold": cut, "words": held == "words", **_shares(groups, merged)})
    return {
        "pairs": {name: len(group) for name, group in groups.items()},
        "prompts_s": len(clean) / encode_s,
        "sweep": table,
    }


def _shares(groups: Mapping[str, Sequence[dict[str, Any]]], merged: Callable[[Any], bool]) -> dict[str, float]:
    return {
        name: round(float(np.mean([bool(merged(row)) for row in group])), 4) for name, group in sorted(groups.items())
    }


def speed(n: int = 100_000, width: int = 384) -> dict[str, Any]:
    """The exact search over one group of n random vectors, and over as many groups as telling words would make."""
    from promptforge.stages.meaning.search import survivors

    random = np.random.default_rng(0)
    vectors = np.empty((n, width), np.float16)
    for start in range(0, n, 10_000):
        vectors[start : start + 10_000] = random.normal(size=(min(10_000, n - start), width)) / width**0.5
    found = {"rows": n, "width": width}
    for name, groups in (("one_group", np.zeros(n, np.uint64)), ("groups_of_4", np.arange(n, dtype=np.uint64) // 4)):
        begun = time.process_time()
        survivors(vectors, groups, 0.9)
        found[f"{name}_s"] = round(time.process_time() - begun, 2)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "numpy": np.__version__}
    if given.source is not None:
        found |= measure(given.source, given.model)
    if given.speed:
        found["search"] = speed()
    text = json.dumps(found, indent=1, ensure_ascii=False, default=float) + "\n"
    if given.report:
        given.report.write_text(text, "utf-8")
    for row in found.pop("sweep", []):
        shares = "  ".join(f"{name} {row[name]:.3f}" for name in ("duplicate", "paraphrase", "distinct"))
        sys.stdout.write(f"{row['threshold'] or 'near'} words={row['words']}  {shares}\n")
    sys.stdout.write(json.dumps(found, default=float) + "\n")


if __name__ == "__main__":
    main()
