"""The embedded teacher: draws a prompt's scene with icons, shapes and real fonts, and errs at a set rate.

The picture is a function of the text, the seed and the parameters; the expected strings and the scene are read
from the text here, as any teacher would have to. `truth` tells what was drawn and what was done wrong (drawing/
mistakes.py has the kinds); no scorer sees it. Text that no font has or that does not fit legibly is a refusal.
Words that the lexicon does not know are left out and listed in truth.

What a pixel-based scorer may rely on: things are painted in the flat rgb of lexicon/colours.toml (a surface moves
it by at most 28 in RGB, dividing gaps by 32), each copy one connected region, under a dark neutral outline
(74, 82, 88); copies never touch, except where a relation wants one thing before another. Ground and carriers keep
away from the colours in use; the rims of outlines are one or two pixels wide and may pass any colour's value.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features
from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptforge import lexicon, scenes, targets
from promptforge.protocols import Licence, Rendering, RenderJob
from promptforge.records import Scene, canonical_json, content_id
from promptforge.teachers.drawing import carriers, composition, faces, grounds, icons, mistakes
from promptforge.teachers.drawing.composition import Drawn, Item, Plan
from promptforge.teachers.drawing.mistakes import FRAME_KINDS, Kind
from promptforge.teachers.drawing.paint import Rgb, distance

VERSION = 2

#: More than this many kinds or copies of a thing would be too small to tell apart.
MAX_KINDS, MAX_COPIES = 12, 30
_MAX_UNKNOWN = 64
#: Given to things without a colour: none of them is near a pale ground.
_PLAIN_COLOURS = ("red", "blue", "green", "orange", "purple", "brown", "teal", "maroon", "navy", "gold", "magenta")

_WEIGHTS: dict[Kind, float] = {
    "misspelling": 4.0,
    "missing_word": 2.0,
    "wrong_word": 2.0,
    "wrong_colour": 2.0,
    "wrong_count": 2.0,
    "blur": 1.0,
    "dark": 1.0,
    "flat": 0.5,
    "black": 0.5,
}


class Params(BaseModel):
    """Size of the picture, how often the teacher errs and how, and the faces it may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(512, ge=128, le=2048, multiple_of=16, description="side of the square picture in pixels")
    mistake_rate: float = Field(0.1, ge=0, le=1, description="share of pictures with a mistake, one kind each")
    weights: dict[Kind, float] = Field(
        default_factory=lambda: dict(_WEIGHTS),
        description="how often each kind of mistake is made relative to the others; a kind left out is never made",
    )
    fonts: tuple[str, ...] = Field(
        tuple(faces.FACES), min_length=1, description="faces to draw text in, of drawing/faces.py"
    )

    @field_validator("weights")
    @classmethod
    def _weights_are_shares(cls, value: dict[Kind, float]) -> dict[Kind, float]:
        bad = sorted(kind for kind, weight in value.items() if not 0 <= weight <= 1e6)
        if bad:
            raise ValueError(f"weights of {bad} must lie in [0, 1e6]")
        return value

    @field_validator("fonts")
    @classmethod
    def _fonts_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - set(faces.FACES))
        if unknown:
            raise ValueError(f"no such faces: {unknown}; known: {sorted(faces.FACES)}")
        return value


def build(params: Params, rank: int = 0) -> Canvas:
    """The teacher; reads fonts and lexicon once, about 0.5 s."""
    del rank
    return Canvas(params)


def describe(params: Params) -> Mapping[str, Any]:
    """What decides a picture besides text and seed."""
    return Canvas(params).description


def licence(params: Params) -> Licence:
    """Drawings of this package's own; the fonts' licences (OFL, Apache-2.0) leave documents free."""
    del params
    return Licence("CC0-1.0")


@dataclass(frozen=True)
class _Wish:
    """What the prompt asks for, as far as it is understood."""

    strings: tuple[str, ...]
    scene: Scene
    items: tuple[Item, ...]
    coloured: tuple[int, ...]
    own: Rgb | None


class Canvas:
    """Draws; keeps fonts and icon masks between pictures, which changes no picture."""

    fingerprint: str
    description: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def __init__(self, params: Params) -> None:
        self._params = params
        self._lexicon = lexicon.load()
        self._palette: dict[str, Rgb] = {c.word: c.rgb for c in self._lexicon.colours.values() if c.same_as is None}
        self._faces = faces.FaceBook(params.fonts)
        self._icons = icons.IconBook(max(128, params.size // 2))
        self._icons.check({noun.word: noun.icon for noun in self._lexicon.nouns.values()})
        self._grain = grounds.grain()
        self.description = {
            "teacher": "canvas",
            "version": VERSION,
            "pillow": PIL.__version__,
            "freetype": features.version("freetype2"),
            "numpy": np.__version__,
            "fonts": {path.name: _digest(path) for path in sorted({*self._faces.files, *self._icons.files})},
            "lexicon": lexicon.digest(),
            "scenes": scenes.VERSION,
            "targets": targets.VERSION,
            "params": params.model_dump(mode="json"),
        }
        self.fingerprint = content_id(canonical_json(self.description))
        self.provenance = {"machine": platform.machine()}

    def render_all(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering]:
        """One after the other."""
        return map(self.render, jobs)

    def render(self, job: RenderJob) -> Rendering:
        """The picture of `job.text`, or the reason why there is none."""
        layout_rng, mistake_rng = (np.random.default_rng([job.seed, stream]) for stream in (0, 1))
        wish = self._understand(job.text, layout_rng)
        mistake, plan, strings = self._decide(wish, mistake_rng)
        if wish.strings:
            # The wanted strings must be drawable too, or a mistake would hide a refusal.
            turn = int(layout_rng.integers(len(self._faces.faces)))
            face, why = self._faces.choose([*wish.strings, *strings], turn)
            if face is None:
                return Rendering(None, error=why)
            carrier = carriers.carrier_of(wish.scene.carrier)
            plan = replace(plan, text=composition.Text(tuple(strings), face, carrier, wish.own))
        drawn = composition.draw(plan, self._params.size, self._icons, layout_rng, self._grain)
        if isinstance(drawn, str):
            return Rendering(None, error=drawn)
        image = drawn.image
        if mistake in FRAME_KINDS:
            image = mistakes.spoil_frame(mistake, image, mistake_rng)
        return Rendering(np.asarray(image).copy(), truth=self._truth(wish, mistake, plan, drawn))

    def _understand(self, text: str, rng: np.random.Generator) -> _Wish:
        scene = scenes.parse(text)
        strings = tuple(" ".join(s.split()) for s in targets.parse(text).strings if s.split())
        known = [(i, o) for i, o in enumerate(scene.objects) if o.noun in self._lexicon.nouns][:MAX_KINDS]
        own: Rgb | None = None
        if strings and scene.carrier:
            bearer = next((o for _, o in known if o.noun == scene.carrier and o.count == 1), None)
            if bearer is not None:
                own = self._palette_rgb(bearer.colour)
                known = [(i, o) for i, o in known if o is not bearer]
        taken = {rgb for _, o in known if (rgb := self._palette_rgb(o.colour))}
        if strings and own is None:
            said = self._palette_rgb(_colour_before(text, scene.carrier, self._lexicon.colours))
            own = said if said not in taken else None
        items = []
        for _, thing in known:
            noun = self._lexicon.nouns[thing.noun]
            rgb = self._palette_rgb(thing.colour) or self._free_colour(taken, rng)
            taken.add(rgb)
            count = max(1, min(MAX_COPIES, thing.count))
            items.append(
                Item(noun.word, noun.kind, noun.icon, noun.size, count, rgb, thing.shape, thing.texture, thing.action)
            )
        kept = {old: new for new, (old, _) in enumerate(known)}
        relations = tuple(
            replace(r, subject=kept[r.subject], object=kept[r.object])
            for r in scene.relations
            if r.subject in kept and r.object in kept
        )
        coloured = tuple(n for n, (_, o) in enumerate(known) if self._palette_rgb(o.colour))
        return _Wish(strings, replace(scene, relations=relations), tuple(items), coloured, own)

    def _decide(self, wish: _Wish, rng: np.random.Generator) -> tuple[Kind | None, Plan, Sequence[str]]:
        """The mistake of this picture, and the plan and strings with it made."""
        possible: list[Kind] = [*FRAME_KINDS, *mistakes.text_kinds(wish.strings)]
        possible += ["wrong_colour"] if wish.coloured else []
        possible += ["wrong_count"] if wish.items else []
        kind = mistakes.choose(self._params.mistake_rate, self._params.weights, possible, rng)
        items, strings = list(wish.items), list(wish.strings)
        if kind in mistakes.TEXT_KINDS:
            strings = mistakes.spoil(kind, strings, rng) or strings
        elif kind == "wrong_colour":
            place = wish.coloured[int(rng.integers(len(wish.coloured)))]
            word = mistakes.other_colour(items[place].rgb, self._palette, [item.rgb for item in items], rng)
            items[place] = replace(items[place], rgb=self._palette[word]) if word else items[place]
        elif kind == "wrong_count":
            place = int(rng.integers(len(items)))
            count = mistakes.other_count(items[place].count, MAX_COPIES, rng)
            items[place] = replace(items[place], count=count)
        made = kind if kind in FRAME_KINDS or (items, strings) != (list(wish.items), list(wish.strings)) else None
        colours = dict.fromkeys([*(item.rgb for item in wish.items), *(item.rgb for item in items)])
        scene = wish.scene
        plan = Plan(tuple(items), scene.relations, None, scene.setting, scene.light, tuple(colours))
        return made, plan, strings

    def _palette_rgb(self, word: str | None) -> Rgb | None:
        colour = self._lexicon.colours.get(word or "")
        return colour.rgb if colour else None

    def _free_colour(self, taken: set[Rgb], rng: np.random.Generator) -> Rgb:
        """A colour for a thing without one, the farther from those taken the better, with some chance in it."""
        turn = [_PLAIN_COLOURS[int(i)] for i in rng.permutation(len(_PLAIN_COLOURS))]
        offers = [self._palette[word] for word in turn if word in self._palette]
        apart = [rgb for rgb in offers if all(distance(rgb, other) >= 110 for other in taken)]
        return (apart or offers)[0]

    def _truth(self, wish: _Wish, mistake: Kind | None, plan: Plan, drawn: Drawn) -> dict[str, Any]:
        words = {rgb: word for word, rgb in self._palette.items()}
        gone = mistake in ("flat", "black")
        block = None if gone else drawn.block
        items = () if gone else plan.items
        return {
            "mistake": mistake,
            "wanted_text": list(wish.strings),
            "drawn_text": list(plan.text.strings) if plan.text and block else [],
            "carrier": None if gone else drawn.carrier,
            "font": block.face.name if block else None,
            "font_px": block.font_px if block else None,
            "lines": [line for part in block.lines for line in part] if block else [],
            "text_box": [round(v, 1) for v in drawn.text_box] if drawn.text_box and block else None,
            "objects": [{"noun": item.noun, "colour": words[item.rgb], "count": item.count} for item in items],
            "boxes": [[noun, *(round(v) for v in box)] for noun, box in (() if gone else drawn.boxes)],
            "unknown": [_printable(word) for word in wish.scene.unknown[:_MAX_UNKNOWN]],
        }


def _colour_before(text: str, carrier: str | None, colours: Collection[str]) -> str | None:
    """The colour word one or two words before the carrier's: no field of a scene holds it."""
    words = [word.strip(".,;:!?\"'()").removeprefix("t-") for word in text.lower().split()]
    for place, word in enumerate(words):
        if word == carrier:
            return next((before for before in words[max(0, place - 2) : place][::-1] if before in colours), None)
    return None


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _printable(word: str) -> str:
    """The word without lone surrogates, which no file can hold, cut at 64 characters."""
    return word[:64].encode("utf-8", "replace").decode("utf-8")
