"""How right the mini-teacher is, axis by axis, and how far its judges can be believed. A test of the mechanism.

    python -m promptforge.distill.miniature.accuracy OUT [--model FOLDER] [--n 300]

Writes OUT/miniature_accuracy.json and OUT/miniature_accuracy.md. Prompts are of a seed that neither teacher nor judges
were trained with; `seen` is the share of texts that the teacher met in training all the same (the world has 384 prompts
for numbers). Each prompt is shown three times: as canvas draws it (the ceiling), that picture after the pipeline's
autoencoder, and by the mini-teacher. Both judges look at each; letters are read by RapidOCR, through the scorer text.

False alarms are canvas pictures shown with the prompt of a minimal change, which a judge should call wrong.
The floor: where the judge `evaluate` (or the reader, for letters) finds the mini-teacher right in less than half of its
pictures, nothing is claimed of that category.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import numpy.typing as npt
from PIL import Image

from promptforge import scenes
from promptforge.distill.miniature import judge, pictures
from promptforge.distill.miniature.parts import SIZE
from promptforge.distill.miniature.pictures import Row
from promptforge.distill.miniature.training import Effort
from promptforge.distill.named import settings_of
from promptforge.lexicon import plural
from promptforge.models import weights
from promptforge.protocols import Picture, Pixels, RenderJob, Scorer
from promptforge.records import Axis
from promptforge.scorers import miniature as scorer
from promptforge.scorers import text as reading
from promptforge.sources import miniature as world
from promptforge.stages.labels import wilson
from promptforge.teachers import diffusers

SEED = 3_003
LETTERS = "letters"
#: RapidOCR finds letters of 20 px and more; those of 64 px are half of that.
_ENLARGED = 4
FLOOR = 0.5
_SEES = ("canvas", "autoencoder", "teacher")


@dataclass(frozen=True)
class Share:
    """Hits among n, with the 95% interval of Wilson."""

    hits: int
    n: int

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = wilson(self.hits, self.n) if self.n else (0.0, 1.0)
        share = round(self.hits / self.n, 4) if self.n else None
        return {"n": self.n, "share": share, "interval": [round(low, 4), round(high, 4)]}


def prompts(n: int) -> dict[str, list[Row]]:
    """N held-out prompts of each category."""
    found: dict[str, list[Row]] = {}
    for axis, categories in world.CATEGORIES.items():
        for row in pictures.rows(n * len(categories), SEED, {Axis(axis): 1000}):
            found.setdefault(row.category, []).append(row)
    return found


def measure(model: str, n: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Everything that the tables show; `model` is the pipeline's folder or promptforge:miniature."""
    rows = prompts(n)
    flat = [row for each in rows.values() for row in each]
    began = time.monotonic()
    canvas = pictures.draw(flat).pixels
    tell(f"canvas: {len(flat)} pictures in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    again = judge.round_trip(weights.path_of(model), canvas)
    drawn = _teacher(model, flat)
    tell(f"autoencoder and teacher: {time.monotonic() - began:.0f} s")
    shown = dict(zip(_SEES, (canvas, again, drawn), strict=True))
    judges: dict[str, Scorer] = {
        "select": scorer.build(scorer.Params(judge=scorer.SELECT)),
        "evaluate": scorer.build(scorer.Params(judge=scorer.EVALUATE)),
    }
    began = time.monotonic()
    found: dict[str, Any] = {
        "model": weights.identity(model, None),
        "seed": SEED,
        "settings": _settings(model).model_dump(mode="json", exclude={"model"}, exclude_none=True),
        "judges": {name: scorer.identity(scorer.Params(judge=where)) for name, where in _places().items()},
        "seen": _seen(rows),
        "right": {name: _right(each, rows, shown) for name, each in judges.items()},
        "refused": {name: _refused(each, rows, canvas) for name, each in judges.items()},
    }
    tell(f"judges: {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    found["letters"] = _letters(rows, shown)
    tell(f"letters: {time.monotonic() - began:.0f} s")
    found["claim"] = _claims(found)
    return found


def _places() -> dict[str, str]:
    return {"select": scorer.SELECT, "evaluate": scorer.EVALUATE}


def _settings(model: str) -> diffusers.Params:
    """The teacher as the settings `miniature` have it, another model in its place, 32 pictures at once."""
    return settings_of("miniature", []).teacher.model_copy(update={"model": model, "batch": 32})


def _teacher(model: str, rows: Sequence[Row]) -> npt.NDArray[np.uint8]:
    teacher = diffusers.build(_settings(model))
    found = list(teacher.render_all(RenderJob(row.text, row.seed) for row in rows))
    blank = np.zeros((SIZE, SIZE, 3), np.uint8)  # a failed picture shows nothing
    return np.stack([blank if each.pixels is None else each.pixels for each in found])


def _seen(rows: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    effort = Effort()
    known = {row.text for row in pictures.rows(effort.n_pictures, effort.seed)}
    return {name: round(float(np.mean([row.text in known for row in each])), 4) for name, each in rows.items()}


def picture(pixels: Pixels, text: str, expected_text: tuple[str, ...] = ()) -> Picture:
    """What a scorer is given of a prompt of this world."""
    return Picture(pixels, text, "", expected_text, scenes.parse(text))


def _judged(judge_: Scorer, pixels: Pixels, text: str) -> bool:
    (right, *_) = judge_.score(picture(pixels, text))
    if right.value is None:
        raise ValueError(f"no score of {text!r}, which is a prompt of the world")
    return right.value == 1


def _by_category(rows: Mapping[str, Sequence[Row]], pixels: npt.NDArray[np.uint8]) -> dict[str, list[tuple[Row, Any]]]:
    at = 0
    found: dict[str, list[tuple[Row, Any]]] = {}
    for name, each in rows.items():
        found[name] = list(zip(each, pixels[at : at + len(each)], strict=True))
        at += len(each)
    return found


def _right(
    judge_: Scorer, rows: Mapping[str, Sequence[Row]], shown: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, pixels in shown.items():
        for category, pairs in _by_category(rows, pixels).items():
            if category != LETTERS:
                hits = sum(_judged(judge_, each, row.text) for row, each in pairs)
                found.setdefault(category, {})[name] = Share(hits, len(pairs)).plain()
    return found


def _refused(judge_: Scorer, rows: Mapping[str, Sequence[Row]], canvas: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """By kind of minimal change, the share of right pictures that a wrong prompt does not pass with."""
    hits: dict[str, list[bool]] = {}
    for category, pairs in _by_category(rows, canvas).items():
        if category != LETTERS:
            for number, (row, pixels) in enumerate(pairs):
                for kind, text in changes(row.text, number):
                    hits.setdefault(kind, []).append(not _judged(judge_, pixels, text))
    return {kind: Share(sum(each), len(each)).plain() for kind, each in sorted(hits.items())}


def changes(text: str, number: int) -> list[tuple[str, str]]:
    """(kind, text) of minimal changes: another noun, colour, number or side; `number` chooses which other."""
    words = text.split()
    found: list[tuple[str, str]] = []
    one = {**{noun: noun for noun in world.NOUNS}, **{plural(noun): noun for noun in world.NOUNS}}
    nouns = [place for place, word in enumerate(words) if word in one]
    colours = [place for place, word in enumerate(words) if word in world.COLOURS]
    counts = {word: n for n, word in world.COUNTS.items()}
    many = words[0] in counts
    for kind, places, among in (("noun", nouns, world.NOUNS), ("colour", colours, world.COLOURS)):
        place = places[number % len(places)]
        taken = {one.get(words[each], words[each]) for each in places}
        free = [word for word in among if word not in taken]
        other = free[number % len(free)]
        swapped = [*words[:place], plural(other) if many and kind == "noun" else other, *words[place + 1 :]]
        found.append((kind, _articled(swapped)))
    if many:
        free = [word for word in counts if word != words[0]]
        found.append(("count", " ".join([free[number % len(free)], *words[1:]])))
    for relation, opposite in zip(world.RELATIONS, (*world.RELATIONS[1::-1], *world.RELATIONS[:1:-1]), strict=True):
        if f" {relation} " in text:
            found.append(("relation", text.replace(f" {relation} ", f" {opposite} ")))
    if len(colours) > 1:
        first, second = colours
        words[first], words[second] = words[second], words[first]
        found.append(("colours swapped", _articled(words)))
    return found


def _articled(words: Sequence[str]) -> str:
    """With a or an as the next word wants it."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return " ".join(
        ("an" if after[:1] in set("aeiou") else "a") if word in ("a", "an") else word for word, after in pairs
    )


def _letters(rows: Mapping[str, Sequence[Row]], shown: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """Exact share, and characters that are read right: 1 less edits a wanted character, 0 at least."""
    reader = reading.build(reading.Params())
    found: dict[str, Any] = {}
    for name, pixels in shown.items():
        exact, characters = 0, []
        pairs = _by_category(rows, pixels)[LETTERS]
        for row, each in pairs:
            side = SIZE * _ENLARGED
            large = np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC))
            scores = {one.metric: one.value for one in reader.score(picture(large, row.text, row.expected_text))}
            exact += scores["exact"] == 1
            characters.append(max(0.0, 1 - (1.0 if scores["cer"] is None else scores["cer"])))
        found[name] = {"exact": Share(exact, len(pairs)).plain(), "characters": round(float(np.mean(characters)), 4)}
    return found


def _claims(found: Mapping[str, Any]) -> dict[str, bool]:
    shares = {name: each["teacher"]["share"] for name, each in found["right"]["evaluate"].items()}
    shares[LETTERS] = found["letters"]["teacher"]["exact"]["share"]
    return {name: share >= FLOOR for name, share in shares.items()}


def table(found: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        "| category | judge | canvas | after the autoencoder | mini-teacher | prompts met in training | claim |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, categories in found["right"].items():
        for category, each in categories.items():
            cells = " | ".join(_cell(each[see]) for see in _SEES)
            lines.append(f"| {category} | {name} | {cells} | {_end(found, category)} |")
    letters = found["letters"]
    for what in ("exact", "characters"):
        cells = " | ".join(
            _cell(letters[see][what]) if what == "exact" else f"{letters[see][what]:.3f}" for see in _SEES
        )
        lines.append(f"| letters, {what} | RapidOCR | {cells} | {_end(found, LETTERS)} |")
    kinds = list(found["refused"]["select"])
    lines += ["", f"| wrong prompts refused | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name, each in found["refused"].items():
        lines.append(f"| {name} | {' | '.join(_cell(each[kind]) for kind in kinds)} |")
    return "\n".join(lines) + "\n"


def _end(found: Mapping[str, Any], category: str) -> str:
    return f"{found['seen'][category]:.2f} | {'yes' if found['claim'][category] else 'no claim'}"


def _cell(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['share']:.3f} ({low:.3f} to {high:.3f}), n {share['n']}"


app = cyclopts.App(help=__doc__)


@app.default
def main(out: Path, *, model: str = f"{weights.OWN}miniature", n: int = 300) -> None:
    """Measure into OUT."""
    out.mkdir(parents=True, exist_ok=True)
    found = measure(model, n, lambda line: print(line, flush=True))  # noqa: T201
    (out / "miniature_accuracy.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (out / "miniature_accuracy.md").write_text(table(found), "utf-8")
    print(table(found))  # noqa: T201


if __name__ == "__main__":
    app()
