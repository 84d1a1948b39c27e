"""How well copies of benchmark prompts are told: recall by form, false positives on clean prompts.

    python benchmarks/eval_contamination.py LABELS_DIR              # reads LABELS_DIR/contamination/*.jsonl
    python benchmarks/eval_contamination.py --build FROM --out DIR  # makes a development set out of real prompts
    python benchmarks/eval_contamination.py --alarms FROM           # false alarms on whole sets, by set and rule

`contamination/contamination.jsonl` has prompt, label (contaminated or clean) and form; `benchmark_reference.jsonl` has
prompt and set. A row counts as contaminated when a rule hits that drops by default; axis and scene are told from the
text, as in a run of plain texts. Clean rows whose bag of words equals a reference's are reported
apart, and what is flagged alone (scene, other_scene, skeleton) beside both figures.

The development set changes benchmark prompts by rules of its own, so it says how the rules hold and not how people
write. Its clean rows are real prompts of other sets as they are, but for those that fold to a reference.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import scenes, targets, texts
from promptforge.records import Axis
from promptforge.stages.contamination.find import BATCH_ROWS, Index, Rows
from promptforge.stages.contamination.prompts import Prompts
from promptforge.stages.contamination.settings import COPIES, RULES, Benchmark, DecontaminateSettings

Row = dict[str, Any]

BENCHMARKS = {
    "geneval": "geneval.jsonl",
    "partiprompts": "partiprompts.jsonl",
    "drawbench": "drawbench.jsonl",
    "drawbench_upsampled": "drawbench_upsampled.jsonl",
    "compbench_val": "t2i_compbench.parquet",
    "commontext_test": "distillt5_commontext_test.parquet",
    "hpsv2_photo": "hpsv2_photo.jsonl",
    "flow_grpo_ocr_test": "flow_grpo_ocr_test.jsonl",
    "lex_bench": "lex_bench_easy.parquet",
}
CLEAN = {
    "compbench_train": "t2i_compbench.parquet",
    "commontext_train": "distillt5_commontext_train.parquet",
    "pickapic": "pickapic_train.parquet",
    "imagereward": "imagereward_refl.parquet",
    "laion": "laion_alttext.parquet",
}
SUFFIXES = (
    "highly detailed, 8k, trending on artstation",
    "digital painting, concept art, smooth, sharp focus, illustration, art by artgerm and greg rutkowski",
    "cinematic lighting, photorealistic, octane render, unreal engine 5",
    "masterpiece, best quality, ultra detailed, volumetric lighting",
    "award winning photography, shallow depth of field, bokeh, 35mm",
    "oil on canvas",
    "in the style of studio ghibli",
    "4k, hdr, dramatic lighting, vivid colors",
    "professional photo, sharp focus, high resolution",
    "watercolor painting, soft pastel colors",
    "isometric low poly render",
    "intricate, elegant, by wlop",
)
PREFIXES = ("a photo of", "digital art of", "an oil painting of", "a highly detailed photograph of")


def read_jsonl(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def settings_with(**changes: Any) -> DecontaminateSettings:
    """The default settings, with a benchmark that stands for whatever is compared with."""
    return DecontaminateSettings(benchmarks=(Benchmark(name="reference", path="reference"),), **changes)


def rows_of(prompts: Sequence[str]) -> Rows:
    """The batch that a run would make of these texts."""
    cleaned = [texts.clean(prompt).text for prompt in prompts]
    seen = [scenes.parse(text) for text in cleaned]
    wanted = [targets.parse(text).strings for text in cleaned]
    axes = [texts.tell_axis(*three) for three in zip(cleaned, wanted, seen, strict=True)]
    return Rows(
        pa.array(cleaned, pa.string()),
        pa.array([" ".join(strings) for strings in wanted], pa.string()),
        np.array([axis == Axis.SEMANTIC_UNDERSTANDING for axis in axes], bool),
        pa.array([scene.to_json() for scene in seen], pa.string()),
    )


def rules_hit(index: Index, prompts: Sequence[str]) -> list[set[str]]:
    """The rules that each prompt meets."""
    found: list[set[str]] = [set() for _ in prompts]
    for start in range(0, len(prompts), BATCH_ROWS):
        hits = index.find(rows_of(prompts[start : start + BATCH_ROWS]))
        for row, rule in zip(hits.row.tolist(), hits.rule.tolist(), strict=True):
            found[start + row].add(RULES[rule])
    return found


def bag(text: str) -> str:
    """The folded words in alphabetical order."""
    return " ".join(sorted(texts.fold(texts.clean(text).text).split()))


def measure(labels: Path, settings: DecontaminateSettings | None = None) -> dict[str, Any]:
    """The figures over LABELS/contamination; all None where a file is missing."""
    folder = labels / "contamination"
    rows, reference = read_jsonl(folder / "contamination.jsonl"), read_jsonl(folder / "benchmark_reference.jsonl")
    if not rows or not reference:
        return {"recall": None, "recall_by_form": None, "false_positive_rate": None}
    index = Index(Prompts.of([[row["prompt"] for row in reference]]).texts, settings or settings_with())
    found = rules_hit(index, [row["prompt"] for row in rows])
    bags = {bag(row["prompt"]) for row in reference}
    forms: dict[str, list[bool]] = defaultdict(list)
    clean: dict[str, list[bool]] = defaultdict(list)
    same_bag: list[bool] = []
    rules: dict[str, Counter[str]] = {"contaminated": Counter(), "clean": Counter()}
    for row, hit in zip(rows, found, strict=True):
        called = bool(hit & COPIES)
        rules[row["label"]].update(hit)
        if row["label"] == "contaminated":
            forms[row.get("form") or "-"].append(called)
        elif bag(row["prompt"]) in bags:
            same_bag.append(called)
        else:
            clean[row.get("form") or "-"].append(called)
    return {
        "recall": _share(hit for hits in forms.values() for hit in hits),
        "recall_by_form": {form: _share(hits) for form, hits in sorted(forms.items())},
        "false_positive_rate": _share(hit for hits in clean.values() for hit in hits),
        "false_positive_rate_by_form": {form: _share(hits) for form, hits in sorted(clean.items())},
        "clean_with_the_bag_of_a_reference": {"rows": len(same_bag), "called_contaminated": sum(same_bag)},
        "rows": {"contaminated": sum(map(len, forms.values())), "clean": sum(map(len, clean.values()))},
        "rules": {label: dict(sorted(count.items())) for label, count in rules.items()},
    }


def sweep(labels: Path) -> list[dict[str, Any]]:
    """Recall and false positives at other thresholds."""
    found = []
    for changes in (
        {},
        *({"coverage": value} for value in (0.3, 0.4, 0.6, 0.7)),
        *({"weight": value} for value in (0.7, 0.8, 1.0)),
        *({"near": value} for value in (0.7, 0.9)),
    ):
        figures = measure(labels, settings_with(**changes))
        found.append({**changes, **{name: figures[name] for name in ("recall", "false_positive_rate")}})
    return found


def _share(hits: Iterable[bool]) -> float | None:
    known = list(hits)
    return sum(known) / len(known) if known else None


def load(folder: Path, name: str, file: str) -> list[str]:
    """The prompts of one set."""
    path = folder / file
    rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else read_jsonl(path)
    if file.startswith("t2i_compbench"):
        rows = [row for row in rows if row["split"] == name.rpartition("_")[2]]
    return [row["prompt"] for row in rows]


def _case(text: str, rng: random.Random) -> str:
    return rng.choice((str.upper, str.lower, str.title, str.swapcase, str.capitalize))(text)


def _punctuation(text: str, rng: random.Random) -> str:
    words = text.split()
    changes: list[Callable[[], str]] = [
        lambda: re.sub(r"[^\w\s]", "", text),
        lambda: re.sub(r"[^\w\s]", " ", text),
        lambda: text.rstrip(".!?") + rng.choice((".", "!", "...", " !!")),
        lambda: ", ".join(words),
        lambda: " - ".join((" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :]))),
        lambda: text.replace("'", "’").replace('"', "“").replace(",", ";"),
        lambda: f'"{text}"',
        lambda: text.replace(" ", "  ").replace("-", " "),
    ]
    return rng.choice(changes)()


def _suffix(text: str, rng: random.Random) -> str:
    return text.rstrip(" .,") + rng.choice((", ", ", ", ". ", " ")) + rng.choice(SUFFIXES)


def _prefix(text: str, rng: random.Random) -> str:
    return f"{rng.choice(PREFIXES)} {text[:1].lower()}{text[1:]}"


def _order(text: str, rng: random.Random) -> str:
    words = text.split()
    if rng.random() < 0.4:
        rng.shuffle(words)
    elif rng.random() < 0.5:
        cut = rng.randint(1, max(len(words) - 1, 1))
        words = words[cut:] + words[:cut]
    else:
        head, join, tail = text.rstrip(".").partition(rng.choice((" and ", ", ", " with ", " in ")))
        words = f"{tail}{join}{head}".split() if join else words[::-1]
    return " ".join(words)


def _both(text: str, rng: random.Random) -> str:
    return _suffix(_case(_punctuation(text, rng), rng), rng)


FORMS: dict[str, Callable[[str, random.Random], str]] = {
    "case": _case,
    "punctuation": _punctuation,
    "style_suffix": _suffix,
    "word_order": _order,
    "combined": _both,
}


def build(source: Path, target: Path, seed: int = 5) -> dict[str, int]:
    """Write a development set: 400 copies of each form, 12,000 clean rows. Returns its rows by label."""
    rng = random.Random(seed)
    reference = [
        {"prompt": text, "set": name} for name, file in BENCHMARKS.items() for text in load(source, name, file)
    ]
    folds = {texts.fold(texts.clean(row["prompt"]).text) for row in reference}
    rows: list[Row] = []
    for form, change in FORMS.items():
        for row in rng.sample(reference, 400):
            made = change(row["prompt"], rng)
            rows.append({"prompt": made, "label": "contaminated", "form": form})
    for name, file in CLEAN.items():
        own = [text for text in load(source, name, file) if texts.fold(texts.clean(text).text) not in folds]
        rows += [{"prompt": text, "label": "clean", "form": name} for text in rng.sample(own, min(3000, len(own)))]
    folder = target / "contamination"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("contamination", rows), ("benchmark_reference", reference)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    return dict(Counter(row["label"] for row in rows))


def grammar_prompts(n: int = 3000, seed: int = 7) -> list[str]:
    """Prompts of the own grammar, in equal parts of every axis."""
    from promptforge.sources import grammar

    found = []
    for axis in Axis:
        source = grammar.build(grammar.Params.model_validate({"axis": axis, "n": n}), seed)
        (part,) = source.parts()
        found += [str(row.text) for row in source.read(part, 0, part.n_rows)]
    return found


def alarms(source: Path) -> dict[str, Any]:
    """Shares of whole sets that each rule hits, with every benchmark as the list.

    Rows that fold to a benchmark's prompt or have its bag of words are counted apart: they are copies.
    """
    index = Index(Prompts.of([load(source, name, file) for name, file in BENCHMARKS.items()]).texts, settings_with())
    bags = {bag(text) for text in index.texts}
    sets = {name: load(source, name, file) for name, file in CLEAN.items()} | {"own_grammar": grammar_prompts()}
    found = {}
    for name, prompts in sets.items():
        own = list(dict.fromkeys(prompts))
        clean = [text for text in own if bag(text) not in bags]
        hits = rules_hit(index, clean)
        count = Counter(rule for hit in hits for rule in hit)
        found[name] = {
            "rows": len(clean),
            "same_bag": len(own) - len(clean),
            "called_contaminated": _share(bool(hit & COPIES) for hit in hits),
            **{rule: count[rule] / len(clean) for rule in RULES if count[rule]},
        }
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the figures, or write a development set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--build", type=Path)
    parser.add_argument("--alarms", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sweep", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.build:
        shown: Any = build(chosen.build, chosen.out)
    elif chosen.alarms:
        shown = alarms(chosen.alarms)
    else:
        shown = {"contamination": measure(chosen.labels)}
        if chosen.sweep:
            shown["sweep"] = sweep(chosen.labels)
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    if chosen.out and not chosen.build:
        chosen.out.write_text(json.dumps(shown, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
