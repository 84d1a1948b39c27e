"""A prompt of several sentences while it is being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from promptforge.records import SceneObject
from promptforge.sources.writing.nounphrases import Draft

BESIDE = ("left of", "right of", "next to", "in front of", "behind")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a passage is to be made of: kinds of sentences in turn, and what its things are like.

    `likely` things are at home in the setting and look as they do; all others are any that suit the place.
    """

    kinds: Sequence[str]
    looks: Sequence[tuple[str, ...]] = (("colour",), ("texture",), ())
    predicates: Sequence[str] = BESIDE
    counted: int = 15  # per cent of things that are several
    likely: bool = False
    small: str = ""  # list of [likely] for what stands beside small things


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence, and what it adds: new things, relations by index, a thing that is known better now, fields."""

    text: str
    objects: tuple[SceneObject, ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    known: tuple[int, SceneObject] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    spent: tuple[str, ...] = ()  # what is not told again
    worn: bool = False  # its things are on somebody, so that nothing is beside them
    place: str = ""

    @property
    def n_words(self) -> int:
        """Words of the sentence."""
        return self.text.count(" ") + 1


class Page:
    """A draft on its way to a passage; `carried` are indices of things that somebody has in hand or on."""

    def __init__(self, draft: Draft, place: str, taken: Sequence[str] = (), carried: Sequence[int] = ()) -> None:
        self.draft = draft
        self.objects, self.relations = list(draft.objects), list(draft.relations)
        self.fields = {"setting": draft.setting, "light": draft.light, "style": draft.style}
        self.place = place  # indoors, outdoors, any, or none where nothing more may be said of it
        self.taken = {item.noun for item in draft.objects} | set(taken)
        self.carried = set(carried)
        self.spent: set[str] = set()
        self.body: list[str] = []
        self.last: list[str] = []
        self.n_words = draft.text.count(" ") + 1
        self.ends_with_detail = False
        self._joined = True  # the first sentence stands alone

    def add(self, clause: Clause, *, last: bool = False, joint: str = "") -> None:
        """Takes a sentence in, by itself or joined to the one before."""
        if last:
            self.last.append(clause.text)
        elif joint and not self._joined:
            self.body[-1] = f"{self.body[-1]}{joint} {clause.text}"
            self.n_words += joint.count(" ")
            self._joined = True
        else:
            self.body.append(clause.text)
            self._joined = False
        self.n_words += clause.n_words
        self.ends_with_detail = not (clause.objects or clause.known)
        if clause.known is not None:
            index, item = clause.known
            self.objects[index] = item
        if clause.worn:
            self.carried.update(range(len(self.objects), len(self.objects) + len(clause.objects)))
        self.objects += clause.objects
        self.relations += clause.relations
        self.fields.update(clause.fields)
        self.taken.update(item.noun for item in clause.objects)
        self.spent.update(clause.spent)
        self.place = clause.place or self.place

    def written(self) -> Draft:
        """The draft of all sentences, each with its capital and full stop."""
        sentences = [self.draft.text, *self.body, *self.last]
        return replace(
            self.draft,
            text=" ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences),
            objects=tuple(self.objects),
            relations=tuple(self.relations),
            setting=self.fields["setting"],
            light=self.fields["light"],
            style=self.fields["style"],
            whole=True,
        )
