"""What a prompt, a scene and a candidate are, and how everything gets its name.

Identity is content: ids are the first 32 hex digits (128 bits) of a SHA-256 over length-framed parts, so that
no two lists of parts share an encoding. Nothing here reads a file or a clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Axis(StrEnum):
    """What a prompt is for; the order is the order of every table and report."""

    IMAGE_QUALITY = "image_quality"
    SEMANTIC_UNDERSTANDING = "semantic_understanding"
    TEXT_RENDERING = "text_rendering"


AXES: tuple[str, ...] = tuple(Axis)

#: The eight categories of T2I-CompBench++ (Huang et al. 2025), the names of its files.
SEMANTIC_CATEGORIES: tuple[str, ...] = (
    "color",
    "shape",
    "texture",
    "spatial",
    "3d_spatial",
    "non_spatial",
    "numeracy",
    "complex",
)


def content_id(*parts: str | int) -> str:
    """32 hex digits naming these parts; ("ab", "c") and ("a", "bc") differ. Lone surrogates are allowed."""
    return _framed(parts).hexdigest()[:32]


def _framed(parts: Iterable[str | int]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and no optional blanks: equal values, equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def digest_of(value: Any) -> str:
    """64 hex digits of the SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def row_id(source: str, source_digest: str, row: int) -> str:
    """Name of one input row: source name, SHA-256 of its file (or revision), row number; never a path."""
    return content_id("row", source, source_digest, row)


def prompt_id(text_clean: str) -> str:
    """Name of a prompt: its cleaned text alone, so that tagging it anew orphans nothing."""
    return content_id("prompt", text_clean)


def image_id(prompt: str, teacher: str, take: int) -> str:
    """Name of a picture: prompt_id, teacher fingerprint, take."""
    return content_id("image", prompt, teacher, take)


def noise_seed(noise_group: str, take: int, recipe_seed: int) -> int:
    """Seed of the starting latent, in [0, 2**63).

    `noise_group` is the pair_id where there is one, else the prompt_id; teacher, step count and guidance do not
    enter, so both members of a minimal pair and two teachers start from the same latent.
    """
    return int.from_bytes(_framed(("noise", noise_group, take, recipe_seed)).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One kind of thing in a scene, `count` times, each alike. Words are lexicon words (singular)."""

    noun: str
    count: int = 1
    colour: str | None = None
    shape: str | None = None
    texture: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """`objects[subject] predicate objects[object]`, e.g. (0, "left of", 1)."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What a prompt says is to be seen, as far as the lexicon knows its words.

    `unknown` holds the words that were not understood, in order; `carrier` is what bears the text, if any.
    """

    objects: tuple[SceneObject, ...] = ()
    relations: tuple[Relation, ...] = ()
    carrier: str | None = None
    setting: str | None = None
    light: str | None = None
    style: str | None = None
    unknown: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Canonical JSON, the form of the column prompts.scene."""
        # dataclasses.asdict copies every value deeply: it took a sixth of the time of the stage generate.
        plain = {name: getattr(self, name) for name in self.__slots__}
        for name in ("objects", "relations"):
            plain[name] = [{key: getattr(item, key) for key in item.__slots__} for item in plain[name]]
        return canonical_json(plain)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The scene that `to_json` wrote."""
        raw: Mapping[str, Any] = json.loads(text)
        return cls(
            objects=tuple(SceneObject(**item) for item in raw["objects"]),
            relations=tuple(Relation(**item) for item in raw["relations"]),
            carrier=raw["carrier"],
            setting=raw["setting"],
            light=raw["light"],
            style=raw["style"],
            unknown=tuple(raw["unknown"]),
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A yes/no question about a picture whose right answer is yes, as in Davidsonian Scene Graphs (Cho et al. 2024).

    `key` names it within its prompt; `requires` are the keys that must be yes before it is asked (a colour only of a
    thing that is there). `noun`, `value` and `other` say the same for a detector: value is the attribute, number,
    action or predicate, other the relation's object. `verified` is False for what no measure of ours has been shown
    to judge well: 3D relations and actions.
    """

    key: str
    kind: str  # object, attribute, count, relation or action
    text: str
    requires: tuple[str, ...] = ()
    noun: str | None = None
    value: str | None = None
    other: str | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """One input row as a source gives it, before cleaning.

    `text` is None where the row could not be read; then `fault` is a reason code and `fault_detail` a short
    description. Everything else is optional: what the source does not know is derived from the text later.
    `axis` None means: tell it from the text. `expected_text` None means: parse it; () means: none is wanted.
    """

    row: int
    text: str | None
    axis: str | None = None
    category: str | None = None
    expected_text: tuple[str, ...] | None = None
    scene: Scene | None = None
    template: str | None = None
    style: str | None = None
    parent_id: str | None = None
    pair_id: str | None = None
    source_aesthetic: float | None = None
    fault: str | None = None
    fault_detail: str | None = None
