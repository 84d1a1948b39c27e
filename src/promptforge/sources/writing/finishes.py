"""How a picture is lit and finished: lights that suit a place, finishes that do not gainsay each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptforge.lexicon import Lexicon, Light, article
from promptforge.sources.writing.cells import PHOTO, PLAIN, style_kind
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.pages import Clause, Page

GREY, AERIAL = "black and white photograph", "aerial photograph"
PAINTED, BRUSH = "painting", "brushwork"
#: Lights without shadows to speak of.
SHADOWLESS = ("overcast", "fog", "rain", "snowfall", "starlight", "blue hour")


class Finishes:
    """Words and sentences of light, lens, composition and finish."""

    def __init__(self, lexicon: Lexicon, table: Mapping[str, Any]) -> None:
        self.table, self.words = table, lexicon.captions
        self.lights: Mapping[str, Sequence[Light]] = {
            place: [row for row in lexicon.lights.values() if row.place in ("any", *places)]
            for place, places in {"indoors": ["indoors"], "outdoors": ["outdoors"], "any": []}.items()
        }
        self.finishes = {
            PLAIN: self.words["finish"],
            PHOTO: self.words["finish"] + self.words["finish_photo"],
            PAINTED: self.words["finish"] + self.words["finish_art"],
            "art": tuple(word for word in self.words["finish"] + self.words["finish_art"] if BRUSH not in word),
            GREY: tuple(
                word
                for word in self.words["finish"] + self.words["finish_photo"]
                if word.split()[-1] not in ("tones", "colours")
            ),
        }
        self.groups: Mapping[str, frozenset[str]] = {
            word: frozenset(name for name, words in table["groups"].items() if word in words)
            for words in table["groups"].values()
            for word in words
        }
        manners = [phrase for row in lexicon.styles.values() for phrase in row.phrases]
        self.manners = {PAINTED: manners, "art": [phrase for phrase in manners if BRUSH not in phrase]}

    def lights_for(self, place: str, text: str) -> Sequence[Light]:
        """Lights of a place that no adjective of the text gainsays: no sunlit canal by moonlight."""
        lights = self.lights[place if place in self.lights else "any"]
        for word, allowed in self.table["lit"].items():
            if word in text:
                lights = [row for row in lights if row.word in allowed]
        return lights

    def finishing(self, draw: Draw, style: str | None, light: str | None, n: int) -> list[str]:
        """Finishes that go with each other, the medium and the light."""
        kind = style_kind(style)
        listed = self.finishes[GREY if style == GREY else kind if kind in self.finishes else "art"]
        found: list[str] = []
        said = {"shadow"} if light in SHADOWLESS else set()
        while len(found) < n:
            finish = draw.pick(listed)
            groups = self.groups.get(finish, frozenset((finish,)))
            if not groups & said:
                found.append(finish)
                said |= groups
        return found

    def manner(self, draw: Draw, style: str | None) -> str:
        """An artist's manner; brushwork only where there is a brush."""
        return draw.pick(self.manners[PAINTED if style_kind(style) == PAINTED else "art"])

    def light_sentence(self, draw: Draw, page: Page) -> Clause:
        """The one light."""
        light = draw.pick(self.lights_for(page.place, page.draft.text))
        phrase = draw.pick(light.phrases)
        text = draw.pick(self.table["light"][phrase.split(" ", 1)[0]])
        return Clause(text.format(light=phrase), fields={"light": light.word})

    def sentence(self, draw: Draw, page: Page) -> Clause:
        """How it is seen and finished."""
        style = page.fields["style"]
        kind = style_kind(style)
        first, second, third = self.finishing(draw, style, page.fields["light"], 3)
        text = draw.pick(self.table["finish"][kind if kind in (PLAIN, PHOTO) else "art"])
        lens, comp = draw.pick(self.words["lens"]), draw.pick(self.compositions(page, "and is" in text))
        manner = self.manner(draw, style)
        if comp.startswith("with "):
            text = text.replace("{comp}, with", "{comp},")
        return Clause(
            text.format(
                comp=comp,
                fin=first,
                fin2=second,
                fin3=third,
                style=manner,
                lens=f"{article(lens.split(' ')[0])} {lens}",
            )
        )

    def compositions(self, page: Page, predicate: bool) -> Sequence[str]:
        """Ways to see it that suit the place; those that can stand behind "is"."""
        words = self.words["composition"] + (self.words["composition_outdoors"] if page.place == "outdoors" else ())
        if page.fields["style"] == AERIAL:
            words = tuple(word for word in words if not word.startswith("seen"))
        return tuple(word for word in words if word.startswith(("seen", "framed"))) if predicate else words
