"""Writes cells of the text-rendering axis: drafts of the lettering writer, made shorter, styled or grown.

Whatever the strings to be drawn are, they stay as they were written; what is added stands before or behind them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from promptforge.lexicon import article
from promptforge.sources.writing.cells import ANY, BANDS, PLAIN, Cell, media
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.lettering import LetteringWriter, writer
from promptforge.sources.writing.nounphrases import Draft
from promptforge.sources.writing.pages import Page, Plan
from promptforge.sources.writing.passages import Passages, passages
from promptforge.sources.writing.pools import Pools, pools
from promptforge.sources.writing.semantic_cells import styled

#: Forms of lettering.toml that are phrases: "an oil painting of ..." may stand before them.
PHRASES = frozenset(
    ("holds", "held_by", "wears", "bare", "stands", "letters", "painted_on", "thing_beside", "who_beside")
)
#: The carrier and its words, and nothing else.
BRIEF = (
    "{text} on {carrier}",
    "{carrier} saying {text}",
    "{carrier} reading {text}",
    "{carrier} marked {text}",
    "{carrier} with {text}",
)
KINDS = ("letters", "detail", "related", "behind", "detail", "alone", "detail", "related")
NOWHERE = ("letters", "related", "alone", "related")


class LetteringCells:
    """Drafts of cells."""

    def __init__(self, stock: Pools, longer: Passages, own: LetteringWriter) -> None:
        self.stock, self.longer, self.own = stock, longer, own
        predicates = ("next to", "next to", "behind")
        looks = (("colour",), ("texture",), ())
        self.plan = Plan(KINDS, looks, predicates, likely=True)
        self.names = [name.split(" ")[-1] for row in stock.lexicon.carriers for name in (*row.names, *row.also)]
        self.placeless = Plan(NOWHERE, looks, predicates)

    def write(self, category: str, draw: Draw) -> Draft:
        """The axis's own mix."""
        return self.own.write(category, draw)

    def write_cell(self, cell: Cell, draw: Draw) -> Draft:
        """A try at a row of a cell."""
        low, high = cell.words
        draft = self.own.write(cell.category, draw)
        if cell.length in ("tiny", "short") and (cell.length == "tiny" or draft.text.count(" ") + 1 > high):
            draft = self._brief(draw, draft)
        behind = ""
        if cell.style not in (ANY, PLAIN) and draft.style is None:
            medium = draw.pick(media(cell.style))
            if draft.template.rsplit(".", 1)[-1] in PHRASES:
                draft = styled(draw, draft, medium, high)
            else:
                draft, behind = replace(draft, style=medium), f", {medium}"
        if cell.length in ("tiny", "short"):
            return replace(draft, text=draft.text + behind)
        place = self._place(draft)
        if cell.length == "medium":
            low += draw.below(6)
        if draft.setting is None and place != "none" and draft.text.count(" ") + 1 < low:
            setting = draw.pick(self.own.places[None if place == "any" else place])
            draft = replace(draft, text=f"{draft.text} {setting.phrase}", setting=setting.word)
            place = setting.place
        if cell.length == "medium":
            draft = self.longer.tail(draw, draft, place, low)
            return replace(draft, text=draft.text + behind)
        draft = replace(draft, text=draft.text + behind)
        plan = self.placeless if draft.setting is None else self.plan
        return self.longer.grow(draw, Page(draft, place, taken=self.names), plan, BANDS[cell.length])

    def _brief(self, draw: Draw, draft: Draft) -> Draft:
        """The strings and what bears them alone."""
        strings, carrier = draft.expected_text, draft.carrier or "sign"
        begin = draft.text.find(strings[0]) - 1
        end = draft.text.rfind(strings[-1]) + len(strings[-1]) + 1
        text = draw.pick(BRIEF).format(text=draft.text[begin:end], carrier=f"{article(carrier)} {carrier}")
        template = f"{draft.template.rsplit('.', 1)[0]}.brief"
        return Draft(template, text, carrier=draft.carrier, expected_text=strings)

    def _place(self, draft: Draft) -> str:
        """Where the carrier and whoever is with it may be."""
        lexicon = self.stock.lexicon
        if draft.setting is not None:
            return lexicon.settings[draft.setting].place
        outside = draft.text
        for string in draft.expected_text:
            outside = outside.replace(string, "")
        named = [
            (len(name), row.place or "any")
            for row in lexicon.carriers
            for name in row.names
            if row.word == draft.carrier and name in outside
        ]
        place = max(named)[1] if named else "none"
        other = self.stock.place_of(item.noun for item in draft.objects)
        if other is None or (other and place not in ("any", other)):
            return "none"
        return other or place


@lru_cache(maxsize=1)
def cells() -> LetteringCells:
    """The writer of the text-rendering axis, made once."""
    return LetteringCells(pools(), passages(), writer())
