"""Writes the semantic axis: attributes, relations, actions, counts and all of them together.

Every text is built from a scene, and the scene goes with it. Attributes may be unlikely (a purple pear is the
point of attribute binding); sizes, supports and who does what are kept sensible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from promptforge.lexicon import Action
from promptforge.records import SEMANTIC_CATEGORIES, SceneObject
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft, NounPhrase
from promptforge.sources.writing.pools import Pools, pools, templates, thing

CATEGORIES = SEMANTIC_CATEGORIES

#: Shares of rows in per cent.
WITH_SETTING, FRAMED_STYLE = 20, "photograph"
PLURAL_AGENTS, BEING, COLOURED = 15, 50, 45

Template = Mapping[str, Any]


class SemanticWriter:
    """Drafts of one row in a category."""

    def __init__(self, stock: Pools, table: Mapping[str, Any], with_setting: int = WITH_SETTING) -> None:
        self.stock, self.table, self.with_setting = stock, table, with_setting
        self.writers: Mapping[str, Callable[[Draw], Draft]] = {
            "color": lambda draw: self._looks(draw, "color", stock.things, "colour"),
            "shape": lambda draw: self._looks(draw, "shape", stock.shaped, "shape"),
            "texture": lambda draw: self._looks(draw, "texture", stock.textured, "texture"),
            "spatial": lambda draw: self._relation(draw, 2),
            "3d_spatial": lambda draw: self._relation(draw, 3),
            "non_spatial": self._action,
            "numeracy": self._numeracy,
            "complex": self._complex,
        }
        actions = stock.actions
        self.alone = [a for a in actions if not a.patients and not a.together]
        self.together = [a for a in actions if not a.patients and (a.together or (a.plural and "man" in a.agents))]
        self.done_to = [a for a in actions if a.patients]
        inert = [row for row in table["relation"] if not row.get("inert")]
        self.rows = {True: inert, False: table["relation"]}
        self.by_person = [a for a in self.alone if "man" in a.agents]
        self.to_by_person = [a for a in self.done_to if "man" in a.agents]
        self.agents = {id(action): stock.agents(action) for action in actions}
        self.patients = {id(action): stock.patients(action) for action in actions}

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row."""
        return self.writers[category](draw)

    def _finish(
        self, draw: Draw, template: Template, category: str, text: str, place: str = "any", **scene: Any
    ) -> Draft:
        """Puts a frame before and a place behind what is no clause of its own."""
        style = setting = None
        sentence = bool(template.get("sentence"))
        if not sentence:
            frame = draw.pick(self.table["frames"])
            text = frame.format(text) if frame else text
            style = FRAMED_STYLE if "photo" in frame else None
        if template.get("place", True) and place != "none" and draw.percent(self.with_setting):
            setting = self.stock.setting(draw, [item.noun for item in scene["objects"]], place)
        if setting is not None:
            text = f"{text} {setting.phrase}"
        word = setting.word if setting else None
        return Draft(f"{category}.{template['id']}", text, style=style, setting=word, place=place, **scene)

    def _distinct(self, draw: Draw, nouns: Sequence[str], n: int) -> list[str]:
        """Up to n different nouns, of sizes that go together."""
        lexicon = self.stock.lexicon
        found = [draw.pick(nouns)]
        size = lexicon.nouns[found[0]].size
        for _ in range(4 * (n - 1)):
            word = draw.pick(nouns)
            if len(found) < n and word not in found and abs(lexicon.nouns[word].size - size) <= 2:
                found.append(word)
        return found

    def _looks(self, draw: Draw, category: str, nouns: Sequence[str], kind: str) -> Draft:
        things: list[NounPhrase] = []
        for noun in self._distinct(draw, nouns, 3):
            things.append(self._with(draw, noun, kind, [part.look for part in things]))
        fitting = [row for row in self.table["two"] if row.get("things", 2) <= len(things)]
        if things[0].after and draw.percent(25):
            fitting = [row for row in self.table["after"] if row.get("things", 2) <= len(things)] or fitting
        elif category == "color" and draw.percent(15):
            fitting = self.table["color"] if len(things) > 1 else fitting
        template = draw.pick(fitting)
        things = things[: template.get("things", 2)]
        text = template["text"].format(**dict(zip("abc", things, strict=False)))
        return self._finish(draw, template, category, text, objects=_objects(things))

    def _with(self, draw: Draw, noun: str, kind: str, taken: Sequence[str]) -> NounPhrase:
        """A thing with a look of its own, where the noun has so many."""
        lexicon = self.stock.lexicon
        looks = self.stock.looks(draw, noun, kind)
        for _ in range(4):
            if looks[kind] not in taken:
                break
            looks = self.stock.looks(draw, noun, kind)
        shape, texture = lexicon.shapes.get(looks.get("shape", "")), lexicon.textures.get(looks.get("texture", ""))
        after = shape.after if shape else texture.after if texture else ()
        return thing(noun, looks, after=draw.pick(after) if after else "")

    def pair(self, draw: Draw, dimensions: int) -> tuple[str, str, str, str]:
        """Two nouns, the predicate between them and the kind of its phrase."""
        stock, nouns = self.stock, self.stock.lexicon.nouns
        if dimensions == 3:
            predicate, fit = draw.pick(("in front of", "behind", "hidden by")), "any"
        else:
            options = (("left of", "any"), ("right of", "any"), ("next to", "any"), ("above", "on"), ("above", "over"))
            predicate, fit = draw.pick((*options, ("below", "under")))
        if fit == "any":
            other = draw.pick(stock.placed)
            size = nouns[other].size
            pool: Sequence[str] = (stock.no_bigger if predicate == "hidden by" else stock.beside)[size]
        elif fit == "on":
            other = draw.pick(stock.supports)
            pool = stock.smaller[nouns[other].size]
        elif fit == "under":
            other = draw.pick(stock.roofs)
            pool = stock.no_bigger[min(2, nouns[other].size)]
        else:
            first, other = draw.pick(stock.aloft), draw.pick(stock.placed)
            return first, other if other != first else "table", predicate, fit
        first = draw.pick(pool)
        while first == other:
            first = draw.pick(pool)
        return first, other, predicate, fit

    def _phrase(self, draw: Draw, predicate: str, fit: str) -> str:
        return draw.pick(self.stock.lexicon.relations[predicate].written[fit])

    def _relation(self, draw: Draw, dimensions: int) -> Draft:
        first, other, predicate, fit = self.pair(draw, dimensions)
        category = "spatial" if dimensions == 2 else "3d_spatial"
        a, b = thing(first), thing(other)
        relation = (0, predicate, 1)
        inverse = self.stock.lexicon.relations[predicate].inverse
        human = self.stock.lexicon.nouns[first].kind == "person"  # "it" is nobody
        if predicate in ("left of", "right of") and draw.percent(15):
            template, inv, relation = draw.pick(self.table["sides"]), "", (0, "left of", 1)
        elif inverse is not None and fit == "any" and not human and draw.percent(20):
            template, inv, relation = (
                draw.pick(self.table["inverse"]),
                self._phrase(draw, inverse, "any"),
                (1, inverse, 0),
            )
        else:
            live = self.stock.lexicon.nouns[first].kind in ("person", "animal")
            template, inv = draw.pick(self.rows[live or predicate == "hidden by"]), ""  # nothing is "placed hidden"
        text = template["text"].format(a=a, b=b, rel=self._phrase(draw, predicate, fit), inv=inv)
        objects = _objects([b, a] if template["id"].startswith("fronted") else [a, b])
        if template["id"].startswith("fronted"):
            relation = (1, predicate, 0)
        return self._finish(draw, template, category, text, objects=objects, relations=(relation,))

    def _who(self, draw: Draw, action: Action, among: Sequence[str] = (), *, several: bool = False) -> NounPhrase:
        """An actor, or several where the action allows."""
        noun = draw.pick(among or self.agents[id(action)])
        count = 2 + draw.below(4) if action.plural and several and draw.percent(PLURAL_AGENTS) else 1
        being = self.stock.lexicon.captions["being"]
        extra = draw.pick(being) if count == 1 and draw.percent(BEING) else ""
        return thing(noun, {"action": action.word}, count, extra)

    def _action(self, draw: Draw) -> Draft:
        form = draw.below(10)
        if form > 6 and not self.table["joint"]:
            form -= 5
        if form < 2:
            return self._act(draw, "alone", draw.pick(self.alone))
        if form < 7:
            return self._act(draw, "done_to", draw.pick(self.done_to))
        if form < 8:
            return self._act(draw, "joint", draw.pick(self.together))
        if form < 9:
            return self._act(draw, "joint_to", draw.pick(self.to_by_person))
        return self._meanwhile(draw)

    def _act(self, draw: Draw, form: str, action: Action) -> Draft:
        """One or two actors, one action, perhaps something that it is done to."""
        template = draw.pick(self.table[form])
        who = self._who(draw, action, several=form == "alone")
        words = {"who": who}
        if form.startswith("joint"):
            words["other"] = self._another(draw, action, who.item.noun)
        if action.patients:
            words["what"] = self._patient(draw, action, [part.item.noun for part in words.values()])
        text = template["text"].format(act=action.word, **words)
        return self._finish(draw, template, "non_spatial", text, action.place, objects=_objects(list(words.values())))

    def _another(self, draw: Draw, action: Action, noun: str) -> NounPhrase:
        """Somebody else, of the same kind where that kind does such a thing."""
        nouns = self.stock.lexicon.nouns
        kind = nouns[noun].kind
        others = [word for word in self.agents[id(action)] if word != noun]
        alike = [word for word in others if nouns[word].kind == kind]
        return self._who(draw, action, alike or others)

    def _patient(self, draw: Draw, action: Action, taken: Sequence[str]) -> NounPhrase:
        noun = draw.pick([word for word in self.patients[id(action)] if word not in taken])
        coloured = self.stock.lexicon.nouns[noun].kind != "food" and draw.percent(COLOURED)
        return thing(noun, self.stock.looks(draw, noun, "colour") if coloured else None)

    def _meanwhile(self, draw: Draw) -> Draft:
        template = draw.pick(self.table["meanwhile"])
        first, second = draw.pick(self.by_person), draw.pick(self.by_person)
        who = self._who(draw, first)
        other = self._another(draw, second, who.item.noun)
        text = template["text"].format(who=who, act=first.word, other=other, act2=second.word)
        return self._finish(draw, template, "non_spatial", text, "none", objects=_objects([who, other]))

    def _numeracy(self, draw: Draw) -> Draft:
        template = draw.pick(self.table["numeracy"])
        nouns = self._distinct(draw, self.stock.placed, template["things"])
        if len(nouns) < template["things"]:
            template = self.table["numeracy"][0]
        counts = [1 + draw.below(8) for _ in nouns]
        if len(nouns) == 1 or max(counts) == 1:
            counts[0] = 2 + draw.below(7)
        things = [thing(noun, count=count) for noun, count in zip(nouns, counts, strict=True)][: template["things"]]
        text = template["text"].format(**dict(zip("abc", things, strict=False)))
        return self._finish(draw, template, "numeracy", text, objects=_objects(things))

    def _complex(self, draw: Draw) -> Draft:
        if draw.percent(30):
            return self._complex_action(draw)
        template = draw.pick(self.table["complex"])
        while True:  # two people have no looks to speak of
            first, other, predicate, fit = self.pair(draw, draw.pick((2, 3)))
            a, b = self._dressed(draw, first), self._dressed(draw, other)
            if a.look or (b.look and "{a.look}" not in template["text"]):
                break
        rel = self._phrase(draw, predicate, fit)
        relations = [(0, predicate, 1)]
        things, words = [a, b], {"a": a, "b": b}
        if template.get("things") == 3:
            c, predicate2, rel2 = self._third(draw, first, other)
            things.append(c)
            words["c"] = c
            if "rel2" in template["text"]:
                relations.append((1, predicate2, 2))
        else:
            rel2 = ""
        if template["id"] == "looks_front":
            things, relations = [b, a], [(1, predicate, 0)]
        text = template["text"].format(rel=rel, rel2=rel2, **words)
        return self._finish(draw, template, "complex", text, objects=_objects(things), relations=tuple(relations))

    def _dressed(self, draw: Draw, noun: str) -> NounPhrase:
        """One or two attributes where the noun takes any."""
        kinds = draw.pick((("colour",), ("colour", "texture"), ("shape", "colour"), ("texture",), ("shape",)))
        looks = self.stock.looks(draw, noun, *kinds) or self.stock.looks(draw, noun, "colour")
        return thing(noun, looks)

    def _third(self, draw: Draw, *taken: str) -> tuple[NounPhrase, str, str]:
        """Another thing beside the second, with its relation."""
        pool = self.stock.beside[self.stock.lexicon.nouns[taken[-1]].size]
        noun = draw.pick(pool)
        while noun in taken:
            noun = draw.pick(pool)
        predicate = draw.pick(("left of", "right of", "next to", "in front of", "behind"))
        return self._dressed(draw, noun), predicate, self._phrase(draw, predicate, "any")

    def _complex_action(self, draw: Draw) -> Draft:
        """Somebody doing something beside something that has looks."""
        template = draw.pick(self.table["complex_action"])
        action = draw.pick(self.to_by_person if template.get("patient") else self.by_person)
        who = self._who(draw, action)
        words, subject = {"who": who}, 0
        if template.get("patient"):
            words["what"] = self._patient(draw, action, [who.item.noun])
            subject = 1
        size = self.stock.lexicon.nouns[list(words.values())[-1].item.noun].size
        taken = [part.item.noun for part in words.values()]
        noun = draw.pick([word for word in self.stock.beside[min(size, 5)] if word not in taken])
        words["b"] = self._dressed(draw, noun)
        predicate = draw.pick(("left of", "right of", "next to", "in front of", "behind"))
        rel = self._phrase(draw, predicate, "any")
        text = template["text"].format(act=action.word, rel=rel, **words)
        relations = ((subject, predicate, subject + 1),)
        return self._finish(
            draw, template, "complex", text, action.place, objects=_objects(list(words.values())), relations=relations
        )


def _objects(things: Sequence[NounPhrase]) -> tuple[SceneObject, ...]:
    return tuple(part.item for part in things)


@lru_cache(maxsize=1)
def writer() -> SemanticWriter:
    """The writer of the semantic axis, made once."""
    return SemanticWriter(pools(), templates("semantics.toml"))
