"""What the reader of scenes has in hand: the thing that was named, and the words before the next one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Thing:
    """A scene object while it is being read; `bears` once it turns out to be what the text is on."""

    noun: str
    count: int
    looks: dict[str, str]
    bears: bool = False


@dataclass(slots=True)
class Phrase:
    """The noun phrase being read: what stands before the noun.

    `strange`: with a word that is not understood, which is an adjective where a noun follows, and else the noun itself.
    """

    definite: bool = False
    open: bool = False
    count: int | None = None
    vague: bool = False
    strange: bool = False
    looks: dict[str, str] = field(default_factory=dict)
