"""The narrow waist: read this first.

    Source  -> Candidate rows            (sources/)
    Filter  -> Finding for a bad row     (filters/)
    Teacher -> Rendering of a prompt     (teachers/)
    Scorer  -> Score of a picture        (scorers/)
    TextReader -> TextLine in a picture  (models/)

A component is one module of its package. The recipe names it by module name; the module exports

    VERSION: int             raised whenever its output changes for any input
    class Params(BaseModel)  extra="forbid", frozen; every value validated before any work
    build(params, ...)       returns the component; loading models happens here, never at import

A scorer's module also exports NEEDS and INPUTS (see Scorer), METRICS (name -> number, word or list) and
identity(params): what decides its output outside the parameters, without loading a model.

A component never reads or writes the store, never sees another component, and takes no randomness but the seed
it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge.records import Candidate, Scene

Pixels = npt.NDArray[np.uint8]  #: height x width x 3, RGB, 0 to 255


class Source(Protocol):
    """Where prompts come from: a numbered, fixed stream of rows."""

    name: str
    licence: str

    def parts(self) -> Sequence[SourcePart]:
        """The files (or the one virtual file) of this source, in stream order; reading them checks them."""
        ...

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows start <= row < stop of one part, each exactly once, in order, the same on every call."""
        ...


@dataclass(frozen=True, slots=True)
class SourcePart:
    """One file of a source, or a whole virtual source such as the grammar.

    `digest` is the SHA-256 of the file, or of everything that decides a virtual source's rows.
    """

    label: str
    digest: str
    n_rows: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A filter's word on one row of the table that it was given. No finding means a plain pass."""

    row: int
    verdict: Literal["drop", "near_miss"]
    reason: str
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None


class Filter(Protocol):
    """One prompt-side check; `columns` are the only prompts columns that it may read."""

    columns: tuple[str, ...]

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """At most one finding a row, in row order. Rows with a null text_clean never get here."""
        ...


@dataclass(frozen=True, slots=True)
class RenderJob:
    """All that a teacher may know: the text and the seed."""

    text: str
    seed: int


@dataclass(frozen=True, slots=True)
class Rendering:
    """A picture or the reason why there is none; exactly one of `pixels` and `error` is set.

    `truth` is what an embedded teacher knows that it did wrong; no scorer ever sees it.
    """

    pixels: Pixels | None
    error: str | None = None
    truth: Mapping[str, Any] | None = None


class Teacher(Protocol):
    """Draws pictures from prompts. Same job, same bytes, whatever is rendered before or beside it."""

    fingerprint: str
    description: Mapping[str, Any]

    def render(self, job: RenderJob) -> Rendering:
        """Never raises for a prompt's sake: a prompt that cannot be drawn is a Rendering with an error."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """What a scorer sees: the decoded picture and what the prompt asked for."""

    pixels: Pixels
    text: str
    axis: str
    expected_text: tuple[str, ...]
    scene: Scene | None


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one picture; `detail` is JSON (a reading, boxes) or a word, or None."""

    metric: str
    value: float | None
    detail: str | None = None


class Scorer(Protocol):
    """Measures a picture. `needs` says which pictures it is for: all, those with a scene, those with text.

    `inputs` names the Picture fields besides pixels that the scores depend on: a score is redone when they change.
    """

    needs: Literal["picture", "scene", "expected_text"]
    inputs: tuple[Literal["text", "axis", "expected_text", "scene"], ...]

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric of the scorer, always the same names in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text that a reader found; box is four (x, y) corners in pixels, clockwise from top left."""

    text: str
    confidence: float
    box: tuple[tuple[float, float], ...]


class TextReader(Protocol):
    """An OCR engine."""

    identity: str

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        """The lines in the picture in reading order; () for none."""
        ...
