"""Makes a draft longer: by a few words behind it (place, light, finish), or by whole sentences up to 120 words.

Each sentence adds what it names to the scene, and is checked against what is already there: no noun twice, nothing that
belongs indoors out of doors, one setting, one light. Details ("moss covers the ground") name nothing that a scene
holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from promptforge.lexicon import Setting
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.finishes import GREY, Finishes
from promptforge.sources.writing.nounphrases import Draft, NounPhrase
from promptforge.sources.writing.pages import Clause, Page, Plan
from promptforge.sources.writing.pools import Pools, pools, templates, thing

#: Tries to find a sentence that fits before a page is given up.
TRIES = 40
#: Sentences in a hundred that are joined to the one before.
JOINED = 45
ANIMATE = ("person", "animal")
_SIDES = ("above", "below")


class Passages:
    """Writes sentences and tails."""

    def __init__(self, stock: Pools, table: Mapping[str, Any]) -> None:
        self.stock, self.table = stock, table
        lexicon = stock.lexicon
        self.words = lexicon.captions
        self.finishes = Finishes(lexicon, table)
        self.scenery = {setting: row for row in table["scenery"] for setting in row["settings"]}
        self.counting = frozenset(("a", "an", *(row.word for row in lexicon.numbers if row.written)))
        self.colours = templates("captions.toml")["colours"]
        self.alone = [a for a in stock.actions if not a.patients and not a.together and "man" in a.agents]
        self.done_to = [a for a in stock.actions if a.patients and "man" in a.agents]
        self.nouns_by_place = {
            place: frozenset(word for word in stock.placed if stock.place_of([word]) in ("", place))
            for place in ("indoors", "outdoors")
        }
        self.neutral = self.nouns_by_place["indoors"] & self.nouns_by_place["outdoors"]
        self.beside = {
            (size, place): tuple(word for word in words if word in allowed)
            for size, words in stock.beside.items()
            for place, allowed in (*self.nouns_by_place.items(), ("any", self.neutral))
        }

    # Tails

    def tail(self, draw: Draw, draft: Draft, place: str, low: int) -> Draft:
        """The draft with place, light and finish behind it until it has `low` words or nothing is left to add."""
        if draft.setting is None and place != "none" and draft.text.count(" ") + 1 < low:
            setting = self.a_setting(draw, place, [item.noun for item in draft.objects])
            if setting is not None:
                draft = replace(draft, text=f"{draft.text} {setting.phrase}", setting=setting.word)
                place = setting.place
        if draft.light is None and draft.text.count(" ") + 1 < low:
            light = draw.pick(self.finishes.lights_for(place, draft.text))
            draft = replace(draft, text=f"{draft.text} {draw.pick(light.phrases)}", light=light.word)
        if draft.text.count(" ") + 1 < low:
            first, second = self.finishes.finishing(draw, draft.style, draft.light, 2)
            draft = replace(draft, text=f"{draft.text}, with {first} and {second}")
        return draft

    def a_setting(self, draw: Draw, place: str, nouns: Sequence[str]) -> Setting | None:
        """A setting that suits the things and the place; None where there is none."""
        return self.stock.setting(draw, nouns, "any" if place == "" else place)

    # Passages

    def grow(self, draw: Draw, page: Page, plan: Plan, words: tuple[int, int]) -> Draft:
        """The page as a passage of so many words; fewer where no sentence is left that fits."""
        low, high = words
        wanted = low + draw.below(high - low + 1)
        for clause in self._closing(draw, page, plan, wanted):
            if page.n_words + clause.n_words <= high:
                page.add(clause, last=True)
        for turn in range(TRIES):
            if page.n_words >= wanted:
                break
            kind = plan.kinds[turn % len(plan.kinds)]
            found = self._clause(draw, page, kind, plan)
            if found is not None and page.n_words + found.n_words < high:
                page.add(found, joint=self._joint(page, found, kind) if draw.percent(JOINED) else "")
        return page.written()

    def _joint(self, page: Page, clause: Clause, kind: str) -> str:
        """How a sentence is joined to the one before; not at all where it begins with a place or "there is"."""
        if kind == "detail":
            return ", and"
        if clause.text.split(" ", 1)[0] not in self.counting:
            return ""
        return ", and" if page.ends_with_detail else ", while"

    def _closing(self, draw: Draw, page: Page, plan: Plan, wanted: int) -> Iterator[Clause]:
        """Light and finish, which stand last."""
        rest = wanted - page.n_words
        if page.fields["light"] is None and rest > 14 and draw.percent(60):
            yield self.finishes.light_sentence(draw, page)
        if rest > 18 and draw.percent(80 if plan.likely else 30):
            yield self.finishes.sentence(draw, page)

    def _clause(self, draw: Draw, page: Page, kind: str, plan: Plan) -> Clause | None:
        writers = {
            "related": self._related,
            "alone": self._alone,
            "behind": self._behind,
            "acting": self._acting,
            "wearing": self._wearing,
            "looking": self._looking,
            "detail": self._detail,
            "setting": self._setting,
            "letters": self._letters,
        }
        return writers[kind](draw, page, plan)

    def _say(self, draw: Draw, page: Page, kind: str) -> str:
        """A form of sentence that the page has not had yet, while there is one."""
        forms: Sequence[str] = self.table[kind]
        return draw.pick([form for form in forms if form not in page.spent] or forms)

    def _new(self, draw: Draw, page: Page, plan: Plan, pool: Sequence[str]) -> NounPhrase | None:
        """A thing that is not there yet, with the looks that the plan asks for."""
        noun = draw.pick(pool) if pool else ""
        if not noun or noun in page.taken:
            return None
        if plan.likely:
            return self._likely(draw, page, plan, noun)
        looks = self.stock.looks(draw, noun, *draw.pick(plan.looks))
        return thing(noun, looks, 2 + draw.below(4) if draw.percent(plan.counted) else 1)

    def _likely(self, draw: Draw, page: Page, plan: Plan, noun: str) -> NounPhrase:
        """A thing as it mostly looks: no green horse, no four pianos."""
        kind = self.stock.lexicon.nouns[noun].kind
        if draw.percent(plan.counted) and noun in self.table["likely"]["several"]:
            return thing(noun, count=2 + draw.below(3))
        if kind in ("animal", "person", "plant", "food"):
            extra = self.words["growth" if kind in ("plant", "food") else "being"]
            return thing(noun, extra=draw.pick(extra) if draw.percent(50) else "")
        looks = self.stock.looks(draw, noun, *draw.pick(plan.looks))
        looks.pop("shape", None)
        if "colour" in looks:
            looks = {} if page.fields["style"] == GREY else {"colour": draw.pick(self.colours)}
        return thing(noun, looks, extra="" if looks else draw.pick(self.words["thing"]))

    def _company(self, page: Page, plan: Plan) -> Sequence[str]:
        """What may be there: what is at home in the setting, or whatever suits the place."""
        if plan.likely:
            scenery = self.scenery.get(page.fields["setting"] or "")
            return scenery["company"] if scenery else ()
        return self.beside[3, page.place if page.place in self.nouns_by_place else "any"]

    def _anchor(self, draw: Draw, page: Page) -> tuple[int, NounPhrase] | None:
        """Something that another thing can be beside; nothing that is named twice, carried or too big for it."""
        index = draw.below(len(page.objects)) if page.objects else -1
        if index < 0 or index in page.carried:
            return None
        item = page.objects[index]
        alike = [other for other in page.objects if other.noun == item.noun]
        if len(alike) > 1 or item.noun not in self.stock.placed:
            return None
        return index, NounPhrase(item)

    def _beside(self, page: Page, plan: Plan, noun: str) -> Sequence[str]:
        """What may stand beside a thing."""
        row = self.stock.lexicon.nouns[noun]
        pool = self.beside[min(row.size, 5), page.place if page.place in self.nouns_by_place else "any"]
        if not plan.likely:
            return pool
        if row.kind not in ANIMATE and (row.size == 1 or row.kind == "food"):
            small: Sequence[str] = self.table["likely"].get(plan.small or page.place, ())
            return small
        home = self._company(page, plan)
        return [word for word in pool if word in home]

    def _related(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """Something beside, before, behind or on what is there."""
        anchor, predicate = self._anchor(draw, page), draw.pick(plan.predicates)
        if anchor is None:
            return None
        index, old = anchor
        size = self.stock.lexicon.nouns[old.item.noun].size
        if predicate == "above":
            if old.item.noun not in self.stock.supports or old.item.count > 1 or index in self._laden(page):
                return None
            pool: Sequence[str] = self.stock.smaller[size]
            fit = "on"
        else:
            pool, fit = self._beside(page, plan, old.item.noun), "any"
        new = self._new(draw, page, plan, pool)
        if new is None:
            return None
        rel = draw.pick(self.stock.lexicon.relations[predicate].written[fit])
        form = self._say(draw, page, "related")
        text = form.format(rel=rel, old=old, new=new, verb=self._verb(draw, new))
        return Clause(text, (new.item,), ((len(page.objects), predicate, index),), spent=(form,))

    @staticmethod
    def _laden(page: Page) -> set[int]:
        """Things that something lies on."""
        return {other for _, predicate, other in page.relations if predicate in _SIDES}

    def _verb(self, draw: Draw, new: NounPhrase) -> str:
        """Stands or lies, in its number."""
        noun = self.stock.lexicon.nouns[new.item.noun]
        verb = "stand" if noun.kind in ANIMATE or noun.size > 2 else "lie"
        return verb if new.item.count > 1 else f"{verb}s"

    def _alone(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """One more thing, or two."""
        pool = self._company(page, plan)
        new = self._new(draw, page, plan, pool)
        other = self._new(draw, page, plan, pool) if draw.percent(50) else None
        if new is None:
            return None
        if other is None or other.item.noun == new.item.noun:
            form = self._say(draw, page, "alone")
            return Clause(form.format(new=new, verb=self._verb(draw, new)), (new.item,), spent=(form,))
        form = self._say(draw, page, "joined")
        return Clause(form.format(new=new, new2=other), (new.item, other.item), spent=(form,))

    def _behind(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """Something in the background, once."""
        new = self._new(draw, page, plan, self._company(page, plan))
        if new is None or "behind" in page.spent or "ground" in page.draft.text or " front" in page.draft.text:
            return None
        text = self._say(draw, page, "behind").format(new=new, verb=self._verb(draw, new))
        return Clause(text, (new.item,), spent=("behind",))

    def _acting(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """Somebody else who does something."""
        action = draw.pick(self.alone if draw.percent(50) else self.done_to)
        who = draw.pick(self.stock.agents(action))
        allowed = self.nouns_by_place.get(page.place, self.neutral)
        if action.place not in ("any", page.place) or who in page.taken or who not in allowed or page.place == "none":
            return None
        extra = draw.pick(self.words["being"]) if draw.percent(40) else ""
        new = thing(who, {"action": action.word}, extra=extra)
        if not action.patients:
            form = self._say(draw, page, "acting")
            return Clause(form.format(new=new, act=action.word), (new.item,), spent=(form,))
        what = self._new(draw, page, replace(plan, counted=0), [w for w in self.stock.patients(action) if w in allowed])
        if what is None or what.item.noun == who:
            return None
        form = self._say(draw, page, "acting_on")
        return Clause(form.format(new=new, act=action.word, what=what), (new.item, what.item), spent=(form,), worn=True)

    def _wearing(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """Clothes of somebody."""
        found = self._anchor(draw, page)
        if found is None or found[1].item.count > 1 or f"wear{found[0]}" in page.spent:
            return None
        kind = self.stock.lexicon.nouns[found[1].item.noun].kind
        if kind != "person" or found[1].item.noun in ("alien", "astronaut", "snowman", "swimmer"):
            return None
        single = replace(plan, counted=0, looks=(("colour",), ("colour", "texture"), ("texture",)))
        new = self._new(draw, page, single, self.table["clothes"]["one"])
        other = self._new(draw, page, single, self.table["clothes"]["two"])
        if new is None or other is None:
            return None
        text = self._say(draw, page, "wearing")
        items = (new.item, other.item) if "{new2}" in text else (new.item,)
        return Clause(text.format(old=found[1], new=new, new2=other), items, spent=(f"wear{found[0]}",), worn=True)

    def _looking(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """A colour of something that has none yet."""
        found = self._anchor(draw, page)
        if found is None or found[1].look or page.fields["style"] == GREY:
            return None
        index, old = found
        looks = self.stock.looks(draw, old.item.noun, "colour")
        if not looks or self.stock.lexicon.nouns[old.item.noun].kind in (*ANIMATE, "food", "plant"):
            return None
        text = self._say(draw, page, "looking").format(old=old, look=looks["colour"])
        return Clause(text, known=(index, replace(old.item, colour=looks["colour"])))

    def _detail(self, draw: Draw, page: Page, _plan: Plan) -> Clause | None:
        """What else is to be seen in such a place."""
        scenery = self.scenery.get(page.fields["setting"] or "")
        if scenery is None:
            return None
        topic = draw.below(len(scenery["details"]))
        if f"detail{topic}" in page.spent:
            return None
        return Clause(draw.pick(scenery["details"][topic]), spent=(f"detail{topic}",))

    def _setting(self, draw: Draw, page: Page, _plan: Plan) -> Clause | None:
        """Where it all is, if that has not been said."""
        if page.fields["setting"] is not None or page.place == "none":
            return None
        setting = self.a_setting(draw, page.place, [item.noun for item in page.objects])
        if setting is None:
            return None
        forms = [form for form in self.table["setting"] if not page.last or form[:9] != page.last[0][:9]]
        return Clause(
            draw.pick(forms).format(place=setting.phrase), fields={"setting": setting.word}, place=setting.place
        )

    def _letters(self, draw: Draw, page: Page, plan: Plan) -> Clause | None:
        """What the letters are like, once."""
        if "letters" in page.spent:
            return None
        colour = draw.pick(("red", "blue", "green", "black", "white", "yellow", "gold", "orange"))
        text = draw.pick(self.table["lettering"]["letters"])
        if "{colour}" in text and page.fields["style"] == GREY:
            return None
        return Clause(text.format(colour=colour), spent=("letters",))


@lru_cache(maxsize=1)
def passages() -> Passages:
    """The one writer of passages."""
    return Passages(pools(), templates("passages.toml"))
