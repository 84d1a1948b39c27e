"""Writes cells of the semantic axis: the axis's own drafts made shorter, styled or grown to the length asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from promptforge.lexicon import article
from promptforge.sources.writing.cells import ANY, BANDS, PHOTO, PLAIN, Cell, media
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft, NounPhrase, carried
from promptforge.sources.writing.pages import BESIDE, Page, Plan
from promptforge.sources.writing.passages import Passages, passages
from promptforge.sources.writing.pools import Pools, pools, templates, thing
from promptforge.sources.writing.semantics import SemanticWriter
from promptforge.sources.writing.semantics import writer as natural_writer

#: Share of photographs where any style will do, in per cent, as in the axis's own mix.
PHOTOS = 5
#: Relations in one word, for five words in all.
BRIEF_RELATIONS: Mapping[str, tuple[str, ...]] = {
    "next to": ("beside", "near"),
    "above": ("above",),
    "below": ("under", "underneath", "below", "beneath"),
    "behind": ("behind",),
}
_KINDS = {"color": "colour", "shape": "shape", "texture": "texture"}


class SemanticCells:
    """Drafts of cells."""

    def __init__(self, stock: Pools, table: Mapping[str, Any], longer: Passages) -> None:
        self.stock, self.table, self.longer = stock, table, longer
        self.natural = natural_writer()
        plain = {**table, "frames": [""]}
        #: Without frame and place: sentences too, and phrases alone, which take a medium before them.
        self.clauses = SemanticWriter(stock, plain, 0)
        self.phrases = SemanticWriter(stock, {key: _phrases(rows) for key, rows in plain.items()}, 0)
        self.plans = {category: self._plan(category, kinds) for category, kinds in table["sentences"].items()}

    @staticmethod
    def _plan(category: str, kinds: Sequence[str]) -> Plan:
        """What further things of a category are like."""
        looks: Mapping[str, Sequence[tuple[str, ...]]] = {
            "color": (("colour",),),
            "shape": (("shape",), ("shape", "colour"), ("colour",)),
            "texture": (("texture",), ("texture", "colour")),
            "numeracy": ((), (), ("colour",)),
            "complex": (("colour",), ("texture",), ("shape",), ("colour", "texture"), ("shape", "colour")),
        }
        predicates = {"spatial": ("left of", "right of", "next to", "above"), "3d_spatial": ("in front of", "behind")}
        counted = {"numeracy": 80, "complex": 25}.get(category, 10)
        return Plan(kinds, looks.get(category, ((), (), ("colour",))), predicates.get(category, BESIDE), counted)

    def write(self, category: str, draw: Draw) -> Draft:
        """The axis's own mix."""
        return self.natural.write(category, draw)

    def write_cell(self, cell: Cell, draw: Draw) -> Draft:
        """A try at a row of a cell."""
        style = cell.style
        if style == ANY:
            style = PHOTO if cell.length != "tiny" and draw.percent(PHOTOS) else PLAIN
        medium = None if style == PLAIN else draw.pick(media(style))
        if cell.length == "tiny":
            return self._tiny(cell.category, draw, medium)
        writer = self.phrases if medium else self.clauses
        draft = writer.write(cell.category, draw)
        while "alone in the frame" in draft.text and cell.length in ("long", "paragraph"):
            draft = writer.write(cell.category, draw)
        low, high = cell.words
        if medium:
            draft = styled(draw, draft, medium, high)
        place = self._place(draft)
        if cell.length in ("long", "paragraph"):
            page = Page(draft, place, carried=carried(draft.objects))
            return self.longer.grow(draw, page, self.plans[cell.category], BANDS[cell.length])
        if cell.length == "medium":
            low += draw.below(6)
        return self.longer.tail(draw, draft, place, low)

    def _place(self, draft: Draft) -> str:
        """Where the things of a draft may be; none where they never meet, or where it is said already."""
        place = self.stock.place_of(item.noun for item in draft.objects)
        if place is None or draft.place == "none" or (place and draft.place not in ("any", place)):
            return "none"
        return place or draft.place

    def _tiny(self, category: str, draw: Draw, medium: str | None) -> Draft:
        """Five words and fewer, mostly."""
        if category == "numeracy":
            return self._tiny_of(draw, category, "number", medium, self._counted(draw))
        if category in _KINDS:
            return self._tiny_of(draw, category, "look", medium, self._looking(draw, _KINDS[category]))
        if category == "non_spatial":
            return self._tiny_action(draw, medium)
        return self._tiny_relation(draw, category)

    def _tiny_of(self, draw: Draw, category: str, kind: str, medium: str | None, things: Sequence[NounPhrase]) -> Draft:
        template = draw.pick(self.table["tiny"][f"{kind}_styled" if medium else kind])
        text = template["text"].format(a=things[0], b=things[1], medium=medium)
        objects = tuple(part.item for part in (things[:1] if medium else things))
        return Draft(f"{category}.{template['id']}", text, objects, style=medium)

    def _two(self, draw: Draw, nouns: Sequence[str]) -> tuple[str, str]:
        first, second = draw.pick(nouns), draw.pick(nouns)
        while second == first:
            second = draw.pick(nouns)
        return first, second

    def _counted(self, draw: Draw) -> list[NounPhrase]:
        return [thing(noun, count=2 + draw.below(7)) for noun in self._two(draw, self.stock.placed)]

    def _looking(self, draw: Draw, kind: str) -> list[NounPhrase]:
        stock = self.stock
        nouns = {"colour": stock.things, "shape": stock.shaped, "texture": stock.textured}[kind]
        return [thing(noun, stock.looks(draw, noun, kind)) for noun in self._two(draw, nouns)]

    def _tiny_action(self, draw: Draw, medium: str | None) -> Draft:
        """Somebody and what they do, and what it is done to where there is room."""
        actions = self.natural.alone if medium or draw.percent(40) else self.natural.done_to
        brief = [action for action in actions if " " not in action.word]
        action = draw.pick(brief)
        things = [thing(draw.pick(self.stock.agents(action)), {"action": action.word})]
        text = f"{things[0]} {action.word}"
        if action.patients:
            taken = things[0].item.noun
            things.append(thing(draw.pick([noun for noun in self.stock.patients(action) if noun != taken])))
            text = f"{text} {things[1]}"
        objects = tuple(part.item for part in things)
        text = f"{text}, {medium}" if medium else text
        return Draft("non_spatial.tiny", text, objects, style=medium, place=action.place)

    def _tiny_relation(self, draw: Draw, category: str) -> Draft:
        """Two things and one word between them."""
        dimensions = 2 if category == "spatial" else 3
        while True:
            first, other, predicate, fit = self.natural.pair(draw, dimensions)
            if predicate in BRIEF_RELATIONS and fit != "on":
                break
        a, b = thing(first), thing(other)
        text = f"{a} {draw.pick(BRIEF_RELATIONS[predicate])} {b}"
        return Draft(f"{category}.tiny", text, (a.item, b.item), ((0, predicate, 1),))


def styled(draw: Draw, draft: Draft, medium: str, high: int) -> Draft:
    """A phrase with its medium before it, or behind it where that is shorter."""
    before = f"{article(medium.split(' ', 1)[0])} {medium} of {draft.text}"
    behind = high <= BANDS["short"][1] and (draw.percent(25) or before.count(" ") + 1 > high)
    text = f"{draft.text}, {medium}" if behind else before
    return Draft(
        template=draft.template,
        text=text,
        objects=draft.objects,
        relations=draft.relations,
        carrier=draft.carrier,
        setting=draft.setting,
        light=draft.light,
        style=medium,
        expected_text=draft.expected_text,
        place=draft.place,
    )


def _phrases(rows: Any) -> Any:
    """Templates that are no sentences."""
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return [row for row in rows if not row.get("sentence")]
    return rows


@lru_cache(maxsize=1)
def cells() -> SemanticCells:
    """The writer of the semantic axis, made once."""
    return SemanticCells(pools(), templates("semantics.toml"), passages())
