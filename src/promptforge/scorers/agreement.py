"""Colour and count agreement: are the coloured things of the scene there, and as many as were asked for?

    metric            unit and range
    colour_agreement  [0, 1]: share of the scene's colours that at least one region of sensible size shows; null
                      where no thing has a colour of the lexicon
    count_agreement   [0, 1]: share of the scene's colours whose regions are as many as its things; null likewise
    regions           value null; detail JSON: for each colour the wanted count, the regions found, their share of
                      the picture and the nouns

A pixel belongs to the lexicon colour that it is nearest to; a region is a connected piece of one colour. Things
of one colour are counted together, since colour is all that tells things apart here: two red cups and a red car
want three red regions.

Calibrated on the flat-coloured drawings of the canvas teacher only, where each thing is one piece of its colour.
On a photograph light and shade break a thing into many colours and the numbers mean nothing.
Not covered: what a region shows, shapes, textures, relations, things without a colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Input, Need, Picture, Pixels, Score
from promptforge.records import Scene, canonical_json, digest_of

VERSION = 1
NEEDS: Need = "scene"
INPUTS: tuple[Input, ...] = ("scene",)
METRICS = {"colour_agreement": "number", "count_agreement": "number", "regions": "list"}

#: Width in px, in a picture of 512, that no blended rim has.
_RIM = 5
#: A thing keeps at least this share of its area where strokes thinner than that are taken away.
_SOLID = 0.25

Palette = Mapping[str, tuple[int, int, int]]
Mask = npt.NDArray[np.bool_]


class Params(BaseModel):
    """What counts as a region of a colour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: float = Field(
        40, gt=0, le=120, description="farthest that a pixel may be from its colour, Euclidean in RGB of 0 to 255"
    )
    min_area: float = Field(
        0.0006, gt=0, lt=1, description="smallest region, as a share of the picture (0.0006: 12 px square of 512)"
    )
    min_likeness: float = Field(
        0.2, ge=0, le=1, description="smallest region of a colour, as a share of the largest one of that colour"
    )
    max_border: float = Field(
        0.05, gt=0, le=1, description="a region along a larger share of the picture's border is ground, not a thing"
    )


def build(params: Params, rank: int = 0) -> Agreement:
    """The scorer with the lexicon's colours."""
    del rank
    return Agreement(params, lexicon_colours())


def identity(params: Params) -> Mapping[str, str]:
    """The colours that are looked for, and the library that labels regions."""
    del params
    return {"colours": digest_of(lexicon_colours()), "scikit-image": version("scikit-image")}


def lexicon_colours() -> Palette:
    """Canonical colour words with their RGB; other spellings are left out."""
    from promptforge import lexicon

    return {word: each.rgb for word, each in lexicon.load().colours.items() if each.same_as is None}


@dataclass(frozen=True, slots=True)
class Group:
    """The things of one colour."""

    colour: str
    nouns: tuple[str, ...]
    count: int


class Agreement:
    """Counts the regions of each wanted colour."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, params: Params, palette: Palette) -> None:
        self._params = params
        self._words = tuple(palette)
        self._colours = np.array([palette[word] for word in self._words], dtype=np.float32)

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        wanted = groups(picture.scene or Scene(), self._words)
        found = {group.colour: self.regions(picture.pixels, group.colour) for group in wanted}
        n_pixels = picture.pixels.shape[0] * picture.pixels.shape[1]
        detail = [
            {
                "colour": group.colour,
                "nouns": group.nouns,
                "wanted": group.count,
                "found": len(found[group.colour]),
                "share": round(sum(found[group.colour]) / n_pixels, 5),
            }
            for group in wanted
        ]
        return (
            Score("colour_agreement", _share([bool(found[group.colour]) for group in wanted])),
            Score("count_agreement", _share([len(found[group.colour]) == group.count for group in wanted])),
            Score("regions", None, canonical_json(detail)),
        )

    def regions(self, pixels: Pixels, colour: str) -> list[int]:
        """Areas in px of the regions of a colour, largest first; blended rims of other things do not count."""
        from skimage.measure import label

        mask = self._mask(pixels, colour)
        labels = label(mask, connectivity=2)
        whole = np.bincount(labels.ravel())
        # Counted after the opening, so that a rim weighs nothing, but labelled before it, so that a thin neck holds.
        areas = np.bincount(labels[_opened(mask)], minlength=len(whole))
        areas[areas < _SOLID * whole] = 0
        areas[_ground(labels, self._params.max_border)] = 0
        areas[0] = 0
        least = max(self._params.min_area * mask.size, self._params.min_likeness * float(areas.max()))
        return sorted((int(area) for area in areas if area >= least), reverse=True)

    def _mask(self, pixels: Pixels, colour: str) -> Mask:
        """Pixels that are within reach of the colour and nearer to it than to any other."""
        here = self._words.index(colour)
        own = _distance(pixels, self._colours[here])
        mask: Mask = own <= self._params.reach
        close = pixels[mask]
        nearest = np.full(len(close), np.inf, dtype=np.float32)
        for number, other in enumerate(self._colours):
            if number != here:
                nearest = np.minimum(nearest, _distance(close, other))
        mask[mask] = own[mask] <= nearest
        return mask


def groups(scene: Scene, known: Sequence[str]) -> tuple[Group, ...]:
    """The scene's things by colour, in order of first mention; things without a known colour are left out."""
    found: dict[str, Group] = {}
    for thing in scene.objects:
        colour = thing.colour
        if colour is not None and colour in known and thing.count > 0:
            before = found.get(colour, Group(colour, (), 0))
            found[colour] = Group(colour, (*before.nouns, thing.noun), before.count + thing.count)
    return tuple(found.values())


def _distance(pixels: npt.NDArray[np.uint8], colour: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Euclidean distance in RGB; channel by channel, since a sum over an axis of three is four times as slow."""
    total = np.zeros(pixels.shape[:-1], dtype=np.float32)
    for channel in range(3):
        difference = pixels[..., channel] - colour[channel]
        total += difference * difference
    away: npt.NDArray[np.float32] = np.sqrt(total)
    return away


def _ground(labels: npt.NDArray[np.integer], most: float) -> list[int]:
    """Labels along more than this share of the border."""
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    lengths = np.bincount(border)
    return [int(number) for number in np.flatnonzero(lengths > most * border.size)]


def _opened(mask: Mask) -> Mask:
    """Without what is under 5 px wide: the blended rim between two other colours is up to 4."""
    from skimage.morphology import opening

    return np.asarray(opening(mask, np.ones((_RIM, _RIM), dtype=bool)), dtype=bool)


def _share(facts: Sequence[bool]) -> float | None:
    return sum(facts) / len(facts) if facts else None
