"""How well near duplicates are told: duplicates found, distinct prompts merged, clusters.

    python benchmarks/eval_neardup.py LABELS_DIR              # reads LABELS_DIR/neardup/{pairs,clusters}.jsonl
    python benchmarks/eval_neardup.py --build FROM --out DIR  # makes a development set out of real prompts

`neardup/pairs.jsonl` has a, b and label duplicate, distinct or paraphrase; `neardup/clusters.jsonl` prompt and
cluster_id. A pair counts as merged when a run over every prompt of the file finds it, by the default settings: n-grams,
facts, scenes and MinHash as the stage dedup uses them. Exact duplicates (equal but for case and punctuation) are
merged, as in a run. Paraphrases count in neither share. Cluster F1 is over pairs of prompts in one cluster.

The development set changes real prompts by rules of its own, so it says how the rules hold and not how people write:
duplicates by case, punctuation, articles, style suffix, framing, figures for number words, spelling and one typing
error; distinct ones by another colour, count, thing, place, quoted text, a swap of two things, and one long style
suffix on different subjects; also prompts of the same users that share words and were not changed at all.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import scenes, targets, texts
from promptforge.stages.resemblance import apart, compare
from promptforge.stages.resemblance.features import features, hash_strings
from promptforge.stages.resemblance.settings import DedupSettings

Row = dict[str, Any]

SUFFIXES = (
    "highly detailed, digital painting, trending on artstation, concept art, sharp focus, 8k",
    "cinematic lighting, photorealistic, octane render, unreal engine 5, intricate details",
    "masterpiece, best quality, ultra detailed, volumetric lighting, hdr",
    "award winning photography, shallow depth of field, bokeh, 35mm, golden hour",
    "elegant, smooth, illustration, art by artgerm and greg rutkowski and alphonse mucha",
    "4k, hyperrealistic, dramatic lighting, vivid colors",
)
SWAPS = {
    "count": (("two", "three"), ("three", "five"), ("four", "six"), ("one", "two"), ("five", "four")),
    "colour": (("red", "blue"), ("blue", "green"), ("green", "yellow"), ("black", "white"), ("white", "red")),
    "place": (("left", "right"), ("above", "below"), ("on top of", "next to"), ("behind", "in front of")),
    "thing": (
        ("cat", "dog"),
        ("man", "woman"),
        ("dog", "horse"),
        ("car", "bicycle"),
        ("girl", "boy"),
        ("bird", "fish"),
    ),
    "trait": (("young", "old"), ("small", "large"), ("wooden", "metal"), ("day", "night"), ("sitting", "running")),
}


def read_jsonl(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


class Judge:
    """What a run would make of some prompts, by row number."""

    def __init__(self, prompts: Sequence[str], settings: DedupSettings) -> None:
        cleaned = [texts.clean(prompt).text for prompt in prompts]
        seen = [scenes.parse(text) for text in cleaned]
        expected = [" ".join(targets.parse(text).strings) for text in cleaned]
        self.folded = [texts.fold_key(text) for text in cleaned]
        started = time.process_time()
        found = features(pa.array(cleaned, pa.string()), settings, hash_strings(pa.array(expected, pa.string())))
        self.pairs = compare.near_pairs(found, settings, lambda a, b: apart.agree_on(seen, a, b))
        self.winner, _ = compare.survivors(found, settings, lambda a, b: apart.agree_on(seen, a, b))
        self.seconds = time.process_time() - started  # processor time of what the stage dedup does
        self._near = {(a, b) for a, b in zip(self.pairs.a.tolist(), self.pairs.b.tolist(), strict=True)}

    def merged(self, a: int, b: int) -> bool:
        """Whether the two rows are duplicates of each other, exact or near."""
        return self.folded[a] == self.folded[b] or (min(a, b), max(a, b)) in self._near


def _numbered(prompts: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for prompt in prompts:
        numbers.setdefault(prompt, len(numbers))
    return numbers


def measure(labels: Path, settings: DedupSettings | None = None) -> dict[str, Any]:
    """The figures over LABELS/neardup; a figure is None where its file is missing."""
    settings = settings or DedupSettings()
    pairs = read_jsonl(labels / "neardup" / "pairs.jsonl")
    result: dict[str, Any] = {"duplicates_found": None, "distinct_merged": None, "paraphrase_found": None}
    if pairs:
        numbers = _numbered(text for row in pairs for text in (row["a"], row["b"]))
        judge = Judge(list(numbers), settings)
        hits: dict[str, list[bool]] = defaultdict(list)
        forms: dict[str, list[bool]] = defaultdict(list)
        for row in pairs:
            hit = judge.merged(numbers[row["a"]], numbers[row["b"]])
            hits[row["label"]].append(hit)
            forms[f"{row['label']}:{row.get('form', '')}"].append(hit)
        shares = {label: sum(found) / len(found) for label, found in hits.items()}
        result["duplicates_found"] = shares.get("duplicate")
        result["distinct_merged"] = shares.get("distinct")
        result["paraphrase_found"] = shares.get("paraphrase")
        result["rows"] = {label: len(found) for label, found in sorted(hits.items())}
        result["per_s"] = len(numbers) / max(judge.seconds, 1e-9)
        result["by_form"] = {form: [round(sum(f) / len(f), 4), len(f)] for form, f in sorted(forms.items())}
    result["cluster_f1"] = _cluster_f1(read_jsonl(labels / "neardup" / "clusters.jsonl"), settings)
    return result


def sweep(labels: Path, thresholds: Sequence[float] = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)) -> list[dict[str, Any]]:
    """The figures at other thresholds."""
    found = []
    for threshold in thresholds:
        figures = measure(labels, DedupSettings(threshold=threshold))
        names = ("duplicates_found", "distinct_merged", "paraphrase_found", "cluster_f1")
        found.append({"threshold": threshold, **{name: figures[name] for name in names}})
    return found


def _cluster_f1(rows: Sequence[Row], settings: DedupSettings) -> float | None:
    """Harmonic mean of precision and recall over pairs of rows that are put into one cluster."""
    if not rows:
        return None
    judge = Judge([row["prompt"] for row in rows], settings)
    first: dict[str, int] = {}
    own = [first.setdefault(key, number) for number, key in enumerate(judge.folded)]
    made = [int(judge.winner[number]) for number in own]
    true = [row["cluster_id"] for row in rows]
    if not _pairs_in(true):
        return None  # every prompt alone: nothing to find
    both = _pairs_in(zip(made, true, strict=True))
    precision = both / max(_pairs_in(made), 1)
    recall = both / max(_pairs_in(true), 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


def _pairs_in(names: Iterable[Any]) -> int:
    return sum(n * (n - 1) // 2 for n in Counter(names).values())


def _prompts(folder: Path) -> list[str]:
    """Real prompts of 3 to 40 words, each folded text once."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        wanted = path.stem in (
            *("imagereward_refl", "pickapic_train", "t2i_compbench", "partiprompts", "tifa_v1", "drawbench"),
            *("hpsv2_photo", "distillt5_commontext_train", "laion_alttext", "lex_bench_easy"),
        )
        if not wanted:
            continue
        rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else read_jsonl(path)
        for row in rows[:4000]:
            prompt = row["prompt"] or ""
            if 3 <= len(prompt.split()) <= 40:
                found.setdefault(texts.fold_key(prompt), prompt)
    return list(found.values())


def _typing_error(text: str, rng: random.Random) -> str | None:
    words = list(re.finditer(r"[a-z]{5,}", text))
    if not words:
        return None
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :] if text[at] != text[at + 1] else None


def _replaced(text: str, pairs: Sequence[tuple[str, str]]) -> str | None:
    for old, new in pairs:
        found = re.search(rf"\b{old}\b", text, re.IGNORECASE)
        if found:
            return text[: found.start()] + new + text[found.end() :]
    return None


def _swapped(text: str, _: random.Random) -> str | None:
    """Two things change places: 'a X and a Y' or 'a X on a Y'."""
    found = re.fullmatch(
        r"(an? [\w ]+?) (and|on|above|behind|under|left of|on the left of) (an? [\w ]+)", text.strip(". ")
    )
    return f"{found[3]} {found[2]} {found[1]}" if found and found[2] != "and" else None


def _looks_swapped(text: str, _: random.Random) -> str | None:
    found = re.fullmatch(r"(an?) (\w+) (\w+) and (an?) (\w+) (\w+)", text.strip(". "))
    if not found or found[2] == found[5] or found[3] == found[6]:
        return None
    return f"{found[4]} {found[5]} {found[3]} and {found[1]} {found[2]} {found[6]}"


DUPLICATE: Mapping[str, Callable[[str, random.Random], str | None]] = {
    "case": lambda t, r: t.upper() if r.random() < 0.5 else t.title(),
    "punctuation": lambda t, r: t.replace(",", " -") if "," in t else t + "!",
    "suffix_added": lambda t, r: f"{t.rstrip('., ')}, {r.choice(SUFFIXES)}",
    "framing": lambda t, r: r.choice(("A photo of ", "an image of ", "a highly detailed picture of ")) + t,
    "articles": lambda t, r: re.sub(r"\b(?:the|an?) ", "", t) if re.search(r"\b(the|an?) ", t) else None,
    "article_changed": lambda t, r: re.sub(r"\ban? ", "the ", t, count=1) if re.search(r"\ban? ", t) else None,
    "figure": lambda t, r: _replaced(t, (("two", "2"), ("three", "3"), ("four", "4"), ("five", "5"), ("six", "6"))),
    "spelling": lambda t, r: _replaced(t, (("gray", "grey"), ("colorful", "colourful"), ("color", "colour"))),
    "fluff": lambda t, r: re.sub(r"\ban? ", "a beautiful ", t, count=1) if re.search(r"\ban? ", t) else None,
    "typing_error": _typing_error,
    "hyphen": lambda t, r: t.replace("-", " ") if "-" in t else None,
    "is_doing": lambda t, r: re.sub(r" (\w+ing) ", r" is \1 ", t, count=1) if re.search(r" \w+ing ", t) else None,
}
DISTINCT: Mapping[str, Callable[[str, random.Random], str | None]] = {
    **{name: lambda t, r, pairs=pairs: _replaced(t, pairs) for name, pairs in SWAPS.items()},
    "swap": _swapped,
    "looks_swapped": _looks_swapped,
    "quoted": lambda t, r: re.sub(r'"[^"]+"', '"CLOSED MONDAY"', t, count=1) if re.search(r'"[^"]+"', t) else None,
    "negated": lambda t, r: re.sub(r" with ", " without ", t, count=1) if " with " in t else None,
    "thing_added": lambda t, r: f"{t.rstrip('., ')} and a {r.choice(('lamp', 'dog', 'tree', 'violin'))}",
}


def build(source: Path, out: Path, seed: int, each: int = 120) -> None:  # noqa: C901 - one loop a kind of row
    """Write pairs.jsonl and clusters.jsonl under out/neardup."""
    rng = random.Random(seed)
    prompts = _prompts(source)
    rows: list[Row] = []
    for label, forms in (("duplicate", DUPLICATE), ("distinct", DISTINCT)):
        for form, change in forms.items():
            made = 0
            for prompt in rng.sample(prompts, len(prompts)):
                other = change(prompt, rng)
                if other is None or other == prompt:
                    continue
                rows.append({"a": prompt, "b": other, "label": label, "form": form})
                made += 1
                if made == each:
                    break
    short = [prompt for prompt in prompts if len(prompt.split()) <= 8 and "," not in prompt]
    for _ in range(2 * each):
        a, b = rng.sample(short, 2)
        suffix = ", ".join(rng.sample(SUFFIXES, 3))
        rows.append({"a": f"{a}, {suffix}", "b": f"{b}, {suffix}", "label": "distinct", "form": "shared_suffix"})
    for a in rng.sample(short, each):
        first, second = rng.sample(SUFFIXES, 2)
        rows.append({"a": f"{a}, {first}", "b": f"{a}, {second}", "label": "duplicate", "form": "suffix_changed"})
    clusters: list[Row] = []
    for number, prompt in enumerate(rng.sample(prompts, 400)):
        clusters.append({"prompt": prompt, "cluster_id": number})
        for form in rng.sample(sorted(DUPLICATE), rng.randrange(4)):
            other = DUPLICATE[form](prompt, rng)
            if other and other != prompt:
                clusters.append({"prompt": other, "cluster_id": number})
    folder = out / "neardup"
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("pairs", rows), ("clusters", clusters)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")


def main() -> None:
    """Build a development set, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--build", type=Path, help="folder of real prompts")
    parser.add_argument("--out", type=Path, default=Path("dev"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.build:
        build(given.build, given.out, given.seed)
    labels = given.labels or given.out
    found = {"neardup": measure(labels), "sweep": sweep(labels)}
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False, default=float) + "\n")


if __name__ == "__main__":
    main()
