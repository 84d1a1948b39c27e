"""Regions of a picture: a short caption, one with more detail, and a box, from what is known of the picture.

A box is (x0, y0, x1, y1) in whole pixels, inside the picture, x0 < x1 and y0 < y1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.records import Scene

Box = tuple[int, int, int, int]
Region = tuple[str, str, Box]


@dataclass(frozen=True)
class Evidence:
    """What is known of one picture: the teacher's `truth`, and its row of index.parquet."""

    truth: Mapping[str, Any] | None
    row: Mapping[str, Any]
    origins: Collection[str]
    min_confidence: float = 0.0

    def regions(self) -> tuple[list[Region], str]:
        """Things, then text; and where they are from, e.g. truth, detector/reading or reading."""
        things, of_things = self._things()
        texts, of_texts = self._texts()
        origins = dict.fromkeys([of_things] * bool(things) + [of_texts] * bool(texts))
        return [*things, *texts], "/".join(origins)

    def _things(self) -> tuple[list[Region], str]:
        if self.truth is not None:
            return self._drawn_things(self.truth), "truth"
        found = []
        if "detector" in self.origins and (listed := self.row.get("detector_boxes")):
            details = _asked_for(self.row["scene"])
            for item in json.loads(listed):
                box = self._box(item["box"])
                if box and item["confidence"] >= self.min_confidence:
                    label = str(item["label"])
                    found.append((label, details.get(label, label), box))
        return found, "detector"

    def _drawn_things(self, truth: Mapping[str, Any]) -> list[Region]:
        """Boxes are those of every copy, by noun; the colour is that of the noun's only kind."""
        colours: dict[str, set[str]] = {}
        for thing in truth["objects"]:
            colours.setdefault(thing["noun"], set()).add(thing["colour"])
        found = []
        for noun, *edges in truth["boxes"]:
            if box := self._box(edges):
                colour = next(iter(colours[noun])) if len(colours.get(noun, ())) == 1 else None
                found.append((noun, f"{colour} {noun}" if colour else noun, box))
        return found

    def _texts(self) -> tuple[list[Region], str]:
        if self.truth is not None:
            box = self._box(self.truth["text_box"]) if self.truth.get("text_box") else None
            drawn = " ".join(self.truth["drawn_text"])
            carrier = self.truth.get("carrier")
            on = f" on a {carrier}" if carrier else ""
            return ([(f'text "{drawn}"', f'the text "{drawn}"{on}', box)] if box and drawn else []), "truth"
        found = []
        if "reading" in self.origins and self.row.get("text_verdict") == "read" and self.row.get("text_reading"):
            for line in json.loads(self.row["text_reading"])["lines"]:
                box = self._box(_around(line["box"]))
                if box and line["confidence"] >= self.min_confidence and line["text"].strip():
                    found.append((f'text "{line["text"]}"', f'the text "{line["text"]}"', box))
        return found, "reading"

    def _box(self, edges: Sequence[float]) -> Box | None:
        """Grown to whole pixels and cut to the picture; None where nothing is left."""
        width, height = self.row["width"], self.row["height"]
        x0, y0 = (max(0, math.floor(edge)) for edge in edges[:2])
        x1, y1 = min(width, math.ceil(edges[2])), min(height, math.ceil(edges[3]))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _around(corners: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    across, down = zip(*corners, strict=True)
    return min(across), min(down), max(across), max(down)


def _asked_for(scene: str | None) -> dict[str, str]:
    """Noun -> the words that the prompt gives it, where it asks for one kind of it alone."""
    found: dict[str, list[str]] = {}
    for thing in Scene.from_json(scene).objects if scene else ():
        words = (thing.colour, thing.texture, thing.shape, thing.noun)
        found.setdefault(thing.noun, []).append(" ".join(word for word in words if word))
    return {noun: phrases[0] for noun, phrases in found.items() if len(phrases) == 1}
