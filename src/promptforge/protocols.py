"""The narrow waist: read this first.

    Source  -> Candidate rows            (sources/)
    Filter  -> Finding for a bad row     (filters/)
    Teacher -> Rendering of a prompt     (teachers/)
    Scorer  -> Score of a picture        (scorers/)
    TextReader -> TextLine in a picture  (models/)
    LanguageModel -> Completion of a request (models/language/)

A component is one module of its package. The recipe names it by module name; the module exports

    VERSION: int             raised whenever its output changes for any input
    class Params(BaseModel)  extra="forbid", frozen; every value validated before any work
    build(params, ...)       returns the component; loading models happens here, never at import

    sources    build(params, seed)     filters  build(params)
    teachers   build(params, rank)     describe(params), licence(params)
    scorers    build(params, rank)     NEEDS, INPUTS (see Scorer), METRICS (name -> number, word or list), and where
                                       models decide: identity(params) and models(params)
    models/language  build(params)     identity(params)

PLACES names parameters that say where weights lie: a local path among them is left out of digests and manifests.
identity and describe say what decides the output outside the parameters, and load no weights; models(params) names
the models that judge, so that none both selects and evaluates. `rank` counts the workers of a stage from 0: the
component takes the GPU rank % n_gpus. A module with ASKS = True has a parameter `llm`, the name of a language model of
the recipe, and its build takes `ask` (an Ask) as a keyword.

A component never reads or writes the store, never sees another component, and takes no randomness but the seed
it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge.records import Candidate, Question, Scene

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
    """All that a teacher may know: the text, the seed of the noise, and the number of the attempt."""

    text: str
    seed: int
    take: int = 0


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as bytes: row-major, little-endian; dtype is torch's name, e.g. bfloat16, which NumPy lacks."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Rendering:
    """A picture or the reason why there is none; exactly one of `pixels` and `error` is set.

    `truth` is what an embedded teacher knows that it did wrong; no scorer ever sees it. `notes` are what the teacher
    had to do for this picture alone (a second decoding in fp32, a halved batch). `latent` and `embeddings` (name ->
    tensor, of the prompt) come where the parameters ask for them.
    """

    pixels: Pixels | None
    error: str | None = None
    truth: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    latent: RawTensor | None = None
    embeddings: Mapping[str, RawTensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms of a teacher's pictures. `needs_consent`: they forbid uses that a data set invites, such as training."""

    name: str
    needs_consent: bool = False


class Teacher(Protocol):
    """Draws pictures from prompts. Same job, same bytes, whatever is rendered before or beside it.

    `description` is the module's describe(params), `fingerprint` its content_id(canonical_json(...)). `provenance` is
    what else may move bits (torch, GPU, attention, compile mode) and is recorded beside each picture.
    """

    fingerprint: str
    description: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def render_all(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering]:
        """One rendering for each job, in order; may look ahead a few jobs, to batch or overlap work.

        Never raises for a prompt's sake: a prompt that cannot be drawn is a Rendering with an error.
        """
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """What a scorer sees: the decoded picture and what the prompt asked for."""

    pixels: Pixels
    text: str
    axis: str
    expected_text: tuple[str, ...]
    scene: Scene | None
    questions: tuple[Question, ...] = ()


Need = Literal["picture", "scene", "expected_text", "questions"]
Input = Literal["text", "axis", "expected_text", "scene", "questions"]


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one picture; `detail` is JSON (a reading, boxes) or a word, or None."""

    metric: str
    value: float | None
    detail: str | None = None


class Scorer(Protocol):
    """Measures a picture. `needs` says which pictures it is for: all, or those that have a scene, text or questions.

    `inputs` names the Picture fields besides pixels that the scores depend on: a score is redone when they change.
    """

    needs: Need
    inputs: tuple[Input, ...]

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric of the scorer, always the same names in the same order."""
        ...


class BatchScorer(Scorer, Protocol):
    """A scorer that is faster over many pictures; a picture's scores do not depend on its neighbours."""

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order; as many pictures as the caller likes."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a language model, with the JSON schema that its answer must meet.

    `task`, `variant` (digest of everything that the recipe decides: prompt file, schema, wording) and `subject` (what
    it is about) name it together with the model; an answer is never asked for twice. `user` may hold what earlier
    answers said, and is not part of the name.
    """

    task: str
    variant: str
    subject: str
    system: str
    user: str
    schema: Mapping[str, Any]
    picture: Pixels | None = None
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model said. `error` is set instead where it refused or answered nothing that another try could mend."""

    text: str
    n_tokens_in: int
    n_tokens_out: int
    finish: str = "stop"
    error: str | None = None


class LanguageModel(Protocol):
    """A model behind an API or in this process."""

    identity: Mapping[str, Any]

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion] | None]:
        """(place in `requests`, completion) as each is done, in any order.

        None about every second in which nothing is, so that the caller can commit, look at the clock or end it.
        Raises EnvironmentFault where the model is lost or stuck, after its own retries; what was given before counts.
        """
        ...

    def sleep(self) -> None:
        """Free the accelerator's memory, if it holds any; the next `complete` takes it back."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer, or why there is none after every try; exactly one is set."""

    value: Any = None
    error: str | None = None


class Ask(Protocol):
    """Answers to requests, each asked at most once in the life of a run folder."""

    def __call__(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """One answer a request, in order. They are committed before this returns."""
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
