"""Contamination sets that the rules were not mended on: other benchmarks, other suffixes, other changes.

    python benchmarks/contamination_heldout.py FROM --fold first --out DIR    # writes DIR/contamination/*.jsonl
    python benchmarks/contamination_heldout.py FROM --measure --label now     # adds to benchmarks/results

The folds share no suffix and no way to change a prompt with each other nor with the development set of
eval_contamination.py, and no benchmark prompt with each other; `users_suffix` has ends of real users' prompts. Most
benchmarks of the first are in no other set; those of the second and third are in the development set too. Each fold is
for one look: once its misses have been read it is a development set as well, and its first figure is kept under the
label `before`. Clean rows are real prompts as they are; those that fold to a benchmark's are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import eval_contamination as development

from promptforge import texts

RESULTS = Path(__file__).resolve().parent / "results" / "contamination_heldout.json"
COPIES_PER_FORM, CLEAN_PER_SET = 500, 4000
Change = Callable[[str, random.Random], str]

FIRST_SUFFIXES = (
    "shot on Kodak Portra 400, film grain",
    "flat vector illustration",
    "pixel art, 16-bit",
    "studio lighting, plain white background",
    "by Hayao Miyazaki",
    "golden hour, f/1.8, 85mm lens",
    "art nouveau poster by Alphonse Mucha",
    "rendered in Blender, ray tracing, subsurface scattering",
    "black and white",
    "pencil drawing",
    "ukiyo-e woodblock print",
    "matte painting, epic composition, dramatic light",
    "best quality, sharp focus, HDR",
    "national geographic photo",
    "children's book illustration",
    "in the style of Edward Hopper",
    "extremely detailed, intricate details, 4k resolution",
)
SECOND_SUFFIXES = (
    "charcoal sketch on paper",
    "vaporwave aesthetic",
    "in comic book style",
    "stained glass",
    "professional food photography, macro shot",
    "low angle shot, wide angle lens, motion blur",
    "hyperrealistic, award-winning, ultra sharp",
    "claymation",
    "a vintage photograph, sepia",
    "gouache and ink, muted palette",
    "concept art by Syd Mead and Moebius",
    "soft studio light, 50mm, Fujifilm",
    "trending on DeviantArt, fantasy art",
    "3D render, Cinema 4D, soft shadows",
    "minimalist line art",
    "baroque oil painting, chiaroscuro",
    "photorealism, 8K UHD, RAW photo",
)


THIRD_SUFFIXES = (
    "daguerreotype, 1890s",
    "screen print, halftone dots",
    "risograph, two colours",
    "by Caravaggio",
    "Lomography, light leaks",
    "etching on copper",
    "crayon drawing",
    "cel-shaded, clean outlines",
    "in the manner of Vermeer",
    "editorial fashion photo, Vogue",
    "infrared photo",
    "isometric view, low poly, pastel palette",
    "ink wash painting",
    "HDR, Nikon D850, 24-70mm",
    "drone shot, aerial view",
    "polaroid, faded colors",
    "blueprint style",
    "graphite on paper",
    "render by Pixar, soft lighting",
    "sharp, high contrast, dramatic shadows",
)


def _letters(text: str, rng: random.Random) -> str:
    """Each letter in either case, each word in one, or capitals for what bears the sense."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choice((mark.lower(), mark.upper())) for mark in text)
    if kind == 1:
        return " ".join(rng.choice((word.upper(), word.lower())) for word in text.split())
    if kind == 2:
        return " ".join(word.upper() if len(word) > 3 else word for word in text.split())
    return " ".join(word[:-1].lower() + word[-1:].upper() for word in text.split())


def _sentence_case(text: str, rng: random.Random) -> str:
    kind = rng.randrange(3)
    if kind == 0:
        return text.casefold()
    if kind == 1:
        return text[:1].lower() + text[1:].upper()
    return " ".join(word.capitalize() if rng.random() < 0.5 else word for word in text.split())


def _marks(text: str, rng: random.Random) -> str:
    words = text.split()
    at = rng.randrange(1, len(words)) if len(words) > 1 else 1
    return rng.choice(
        (
            "_".join(words),
            "\n".join((" ".join(words[:at]), " ".join(words[at:]))),
            " ".join((*words[:at], "...", *words[at:])),
            f"**{text}**",
            f"({text.rstrip('.')}),",
            text.replace(",", "").replace(".", " .").replace("'", "`"),
            f"“{text}”",
            " / ".join((" ".join(words[:at]), " ".join(words[at:]))),
        )
    )


def _other_marks(text: str, rng: random.Random) -> str:
    words = text.split()
    return rng.choice(
        (
            "-".join(words),
            f"[{text}]",
            text.replace(" and ", ", and ").rstrip(".") + " ;",
            f"«{text}»",
            "\u00a0".join(words),
            "".join(f"{word}, " if rng.random() < 0.3 else f"{word} " for word in words),
            f"# {text}",
            f"{text.rstrip('.!?')}?!",
            text.translate({ord("'"): "’", ord("-"): "–", ord(","): "，", ord("."): "。"}),
        )
    )


def _styled(suffixes: Sequence[str], joins: Sequence[str]) -> Change:
    def change(text: str, rng: random.Random) -> str:
        return text.rstrip(" .,;") + rng.choice(joins) + rng.choice(suffixes)

    return change


_JOINTS = re.compile(r"\s+(?=(?:and|with|in|on|at|of|near|while|that|next|behind|under)\s)", re.I)


def _clauses(text: str, rng: random.Random) -> str:
    """Clauses in another order: those before and behind a preposition."""
    parts = _JOINTS.split(text.strip(" ."))
    before = list(parts)
    if len(parts) > 1:
        while parts == before:
            rng.shuffle(parts)
        return " ".join(parts)
    return " ".join(reversed(text.split()))


def _words(text: str, rng: random.Random) -> str:
    """Two words changed about, the words by alphabet, or the odd ones before the even ones."""
    words = text.split()
    kind = rng.randrange(3)
    if kind == 0 and len(words) > 2:
        one, other = rng.sample(range(len(words)), 2)
        words[one], words[other] = words[other], words[one]
    elif kind == 1:
        words.sort(key=str.casefold)
    else:
        words = words[1::2] + words[::2]
    return " ".join(words)


def _spaced(text: str, rng: random.Random) -> str:
    """Blanks and marks at the words' ends, and the quotes of another language."""
    words = text.split()
    return rng.choice(
        (
            "   ".join(words),
            f"{text.rstrip('.')}…",
            f"{text},,",
            f"'{text.rstrip('.')}'",
            "\t".join(words),
            f"„{text}“",
            " ".join(f"{word}." if rng.random() < 0.2 else word for word in words),
            f"{text} | ",
            text.replace(" ", " \u200b"),
            f"~ {text} ~",
        )
    )


def _capitals(text: str, rng: random.Random) -> str:
    """Capitals at every other word, letter or vowel."""
    kind = rng.randrange(3)
    if kind == 0:
        return " ".join(word.upper() if at % 2 else word.lower() for at, word in enumerate(text.split()))
    if kind == 1:
        return "".join(mark.upper() if at % 2 else mark.lower() for at, mark in enumerate(text))
    return "".join(mark.upper() if mark in "aeiou" else mark for mark in text)


def _turned(text: str, rng: random.Random) -> str:
    """The last words in front, the first word last, or three words beside each other turned about."""
    words = text.strip(" .").split()
    kind = rng.randrange(3)
    if kind == 0:
        cut = max(1, len(words) - rng.randint(1, 3))
        return f"{' '.join(words[cut:])}, {' '.join(words[:cut])}"
    if kind == 1:
        return " ".join((*words[1:], words[0]))
    at = rng.randrange(max(len(words) - 2, 1))
    words[at : at + 3] = words[at : at + 3][::-1]
    return " ".join(words)


def user_suffixes(source: Path) -> tuple[str, ...]:
    """Ends of real prompts behind their commas: phrases that at least eight others have, two to five of them."""
    ends = [
        [phrase.strip(" .") for phrase in text.split(",")[-5:]]
        for text in development.load(source, "imagereward", "imagereward_refl.parquet")
        if text.count(",") > 6
    ]
    times = Counter(phrase for phrases in ends for phrase in set(phrases))
    found = []
    for phrases in ends:
        common = [phrase for phrase in phrases if phrase and times[phrase] > 8]
        if len(common) > 1:
            found.append(", ".join(common))
    return tuple(sorted(set(found)))


@dataclass(frozen=True)
class Fold:
    """One set: seed, part of lex_bench, the benchmarks, and how a prompt is changed."""

    seed: int
    half: int
    benchmarks: Mapping[str, str]
    forms: Mapping[str, Change]


def _all_at_once(case: Change, marks: Change, styled: Change) -> Change:
    return lambda text, rng: styled(case(marks(text, rng), rng), rng)


_FIRST_STYLE = _styled(FIRST_SUFFIXES, (", ", ". ", " | "))
_SECOND_STYLE = _styled(SECOND_SUFFIXES, (", ", " - ", "; ", ". "))
_THIRD_STYLE = _styled(THIRD_SUFFIXES, (", ", ". ", " | ", " - "))
FOLDS: dict[str, Fold] = {
    "first": Fold(
        1009,
        0,
        {
            "tifa_v1/coco": "tifa_v1.jsonl",
            "glyphcontrol": "glyphcontrol_simplebench.jsonl",
            "drawbench_upsampled": "drawbench_upsampled.jsonl",
            "lex_bench": "lex_bench_easy.parquet",
        },
        {
            "case": _letters,
            "punctuation": _marks,
            "style_suffix": _FIRST_STYLE,
            "word_order": _clauses,
            "combined": _all_at_once(_letters, _marks, _FIRST_STYLE),
        },
    ),
    "second": Fold(
        2003,
        1,
        {
            "tifa_v1/paintskill": "tifa_v1.jsonl",
            "geneval": "geneval.jsonl",
            "partiprompts": "partiprompts.jsonl",
            "hpsv2_photo": "hpsv2_photo.jsonl",
            "lex_bench": "lex_bench_easy.parquet",
        },
        {
            "case": _sentence_case,
            "punctuation": _other_marks,
            "style_suffix": _SECOND_STYLE,
            "word_order": _words,
            "combined": _all_at_once(_sentence_case, _other_marks, _SECOND_STYLE),
        },
    ),
    "third": Fold(
        3001,
        0,
        {
            "tifa_v1/partiprompt": "tifa_v1.jsonl",
            "tifa_v1/drawbench": "tifa_v1.jsonl",
            "compbench_val": "t2i_compbench.parquet",
            "commontext_test": "distillt5_commontext_test.parquet",
            "flow_grpo_ocr_test": "flow_grpo_ocr_test.jsonl",
        },
        {
            "case": _capitals,
            "punctuation": _spaced,
            "style_suffix": _THIRD_STYLE,
            "word_order": _turned,
            "combined": _all_at_once(_capitals, _spaced, _THIRD_STYLE),
        },
    ),
}


def _listed(source: Path, fold: Fold, name: str, file: str) -> list[str]:
    if "/" in name:
        rows = development.read_jsonl(source / file)
        return [row["prompt"] for row in rows if row["category"] == name.partition("/")[2]]
    prompts = development.load(source, name, file)
    if name == "lex_bench":
        return [text for text in prompts if hashlib.sha256(text.encode()).digest()[0] % 2 == fold.half]
    return prompts


def _clean(source: Path, fold: Fold) -> dict[str, list[str]]:
    found = {name: development.load(source, name, file) for name, file in development.CLEAN.items()}
    found["sentences"] = development.load(source, "ud_ewt", "ud_ewt.parquet")
    found["own_grammar"] = development.grammar_prompts(seed=fold.seed)
    return found


def build(source: Path, target: Path, fold: Fold) -> None:
    """Write a fold below `target`."""
    rng = random.Random(fold.seed)
    listed = {name: _listed(source, fold, name, file) for name, file in fold.benchmarks.items()}
    reference = [{"prompt": text, "set": name} for name, prompts in listed.items() for text in dict.fromkeys(prompts)]
    folds = {texts.fold(texts.clean(row["prompt"]).text) for row in reference}
    rows: list[dict[str, Any]] = []
    forms = {**fold.forms, "users_suffix": _styled(user_suffixes(source), (", ",))}
    for form, change in forms.items():
        for row in rng.sample(reference, COPIES_PER_FORM):
            rows.append({"prompt": change(row["prompt"], rng), "label": "contaminated", "form": form})
    for name, prompts in _clean(source, fold).items():
        own = [text for text in dict.fromkeys(prompts) if texts.fold(texts.clean(text).text) not in folds]
        some = rng.sample(own, min(CLEAN_PER_SET, len(own)))
        rows += [{"prompt": text, "label": "clean", "form": name} for text in some]
    folder = target / "contamination"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("contamination", rows), ("benchmark_reference", reference)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")


def measure(source: Path, names: Sequence[str]) -> dict[str, Any]:
    """The figures of each fold, with the default settings."""
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            build(source, Path(folder), FOLDS[name])
            found[name] = development.measure(Path(folder))
    return found


def main(arguments: Sequence[str]) -> int:
    """Write a fold, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--fold", choices=sorted(FOLDS), action="append")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--label", default="now", help="where the figures go in the results")
    chosen = parser.parse_args(arguments)
    names = chosen.fold or sorted(FOLDS)
    if not chosen.measure:
        for name in names:
            build(chosen.source, chosen.out / name, FOLDS[name])
        return 0
    found = measure(chosen.source, names)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    known.setdefault(chosen.label, {}).update(found)
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
