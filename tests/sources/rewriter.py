"""A rewriter behind the protocol LanguageModel: no network, no weights, the same answer to the same request.

It says more about a prompt, as the task `rewrite` asks: clauses on light, place and point of view out of fixed lists,
chosen by the request's seed, until the wanted number of words is reached. With `breaks` it also does what models do
wrong: it changes the number or the colour of a thing, drops a thing, alters the text to be drawn, or adds some.
Not covered: keeping away from the rewrites that a request bans.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal, get_args

from promptforge.protocols import Completion, Request

Break = Literal["number", "colour", "thing", "text", "added_text"]
BREAKS: tuple[Break, ...] = get_args(Break)

CLAUSES = (
    "in soft morning light",
    "seen from slightly above",
    "with long shadows on the ground",
    "under a clear sky",
    "in sharp focus against a blurred background",
    "with fine detail on every surface",
    "as a quiet scene without people",
    "in a wide and calm composition",
)
_SWAPS: Mapping[Break, Sequence[tuple[str, str]]] = {
    "number": ((r"\btwo\b", "five"), (r"\bthree\b", "four"), (r"\b[Aa] (?=\w+ (?:apple|dog|sign)\b)", "six ")),
    "colour": ((r"\bred\b", "blue"), (r"\bgreen\b", "purple"), (r"\bwhite\b", "black")),
    "thing": ((r"\bcups?\b", "lamp"), (r"\bapples?\b", "lamp"), (r"\bdogs?\b", "lamp"), (r"\bsigns?\b", "lamp")),
    "text": ((r'"([^"]+)"', '"\\1S"'),),
}


class Rewriter:
    """Keeps the contract of a prompt, or breaks it in one way."""

    identity: ClassVar[Mapping[str, Any]] = {"kind": "rewriter", "version": 1}

    def __init__(self, breaks: Break | None = None) -> None:
        self.breaks = breaks

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion] | None]:
        """The last request first, with a pause between: an order that callers must not rely on."""
        for place in reversed(range(len(requests))):
            yield None
            answer = self._answer(requests[place])
            yield place, Completion(answer, len(requests[place].user.split()), len(answer.split()))

    def sleep(self) -> None:
        """It holds no memory."""

    def _answer(self, request: Request) -> str:
        data = json.loads(request.user.split("<<<DATA\n")[1].split("\nDATA>>>")[0])
        rng = random.Random(request.seed)
        return json.dumps({"prompts": [self._rewritten(data, rng) for _ in range(data["count"])]})

    def _rewritten(self, data: Mapping[str, Any], rng: random.Random) -> str:
        text = self._broken(data["prompt"].rstrip(". "))
        least, most = data["words"]
        clauses = chain(*(rng.sample(CLAUSES, len(CLAUSES)) for _ in range(3)))
        for clause in clauses:
            longer = f"{text}, {clause}"
            if len(text.split()) >= least or len(longer.split()) > most:
                break
            text = longer
        return text

    def _broken(self, text: str) -> str:
        if self.breaks is None:
            return text
        if self.breaks == "added_text":
            return f'{text}, beside a banner that says "SALE"'
        for pattern, other in _SWAPS[self.breaks]:
            changed = re.sub(pattern, other, text, count=1)
            if changed != text:
                return changed
        return text
