"""Which OCR engines read, how they are set up, and what a scorer asks of any of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptforge.errors import ConfigError
from promptforge.models import easyocr, easyocr_files, rapidocr
from promptforge.models.easyocr import EasyOcrReader
from promptforge.models.reader_process import Limits, LostReading, Outcome
from promptforge.protocols import Pixels, TextLine, TextReader
from promptforge.records import canonical_json

ReaderName = Literal["rapidocr", "easyocr"]


class EasyOcr(BaseModel):
    """EasyOCR's settings. Only the languages decide a reading, so nothing else enters a digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[str, ...] | Literal["auto"] = Field(
        "auto", description="EasyOCR's codes, or auto: by the letters of the text that is asked for"
    )
    folder: str | None = Field(None, description="folder of the model files; EasyOCR's own by default", exclude=True)
    gpu: bool = Field(True, description="read on the GPU of the rank, if there is one", exclude=True)
    batch: int = Field(8, ge=1, le=64, description="pictures detected together on a GPU", exclude=True)
    threads: int = Field(1, ge=1, le=64, description="CPU threads", exclude=True)
    timeout_s: float = Field(60, gt=0, description="a picture that takes longer counts as stuck", exclude=True)
    memory_mib: int = Field(8192, ge=512, description="a process that grows beyond is replaced", exclude=True)
    n_pictures: int = Field(500, ge=1, description="a process is replaced after so many", exclude=True)

    @field_validator("languages")
    @classmethod
    def _some_model_reads_them(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if not isinstance(value, str):
            try:
                easyocr_files.check_languages(value)
            except ConfigError as exc:
                raise ValueError(str(exc)) from exc
        return value

    def settings(self, rank: int) -> easyocr.Settings:
        """For the reader of one rank."""
        limits = Limits(n_pictures=self.n_pictures, memory_mib=self.memory_mib, timeout_s=self.timeout_s)
        return easyocr.Settings(
            folder=self.folder, gpu=self.gpu, rank=rank, batch=self.batch, threads=self.threads, limits=limits
        )


class ByScript:
    """EasyOCR with the languages that the wanted text is written in, one child process for all of them."""

    def __init__(self, reader: EasyOcrReader) -> None:
        self._reader = reader
        self.identity = canonical_json(easyocr_files.identity(None))

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        """In English, where nothing is known of the text."""
        return self._reader.read(pixels)

    def read_many(self, pictures: Sequence[Pixels]) -> tuple[Outcome, ...]:
        """The same of many."""
        return self._reader.read_many(pictures)

    def suited(self, wanted: Sequence[str]) -> EasyOcrReader | None:
        """The reader for these strings; None where no set of languages has all their letters."""
        languages = easyocr_files.languages_of(wanted)
        return self._reader.in_languages(languages) if languages else None


def build_reader(name: ReaderName, settings: EasyOcr, rank: int) -> TextReader:
    """The engine with its models loaded."""
    if name == "rapidocr":
        return rapidocr.RapidOcrReader()
    if settings.languages == "auto":
        return ByScript(EasyOcrReader(settings.settings(rank)))
    return EasyOcrReader(settings.settings(rank), tuple(settings.languages))


def identity_of(name: ReaderName, settings: EasyOcr) -> Mapping[str, str]:
    """Engine, models and what else decides its readings; loads no model."""
    if name == "rapidocr":
        return rapidocr.identity()
    return easyocr_files.identity(None if settings.languages == "auto" else tuple(settings.languages))


def suited(reader: TextReader, wanted: Sequence[str]) -> TextReader | None:
    """What reads these strings: the reader itself, in their languages where it has a choice; None where it cannot."""
    if isinstance(reader, ByScript):
        return reader.suited(wanted)
    return None if _unknown(reader, wanted) else reader


def why_unsuited(reader: TextReader, wanted: Sequence[str]) -> str:
    """Why `suited` gave None: the scripts, then, behind a colon, up to eight of the letters."""
    if isinstance(reader, ByScript):
        return "no set of languages that the reader knows has all letters of the wanted text"
    letters = _unknown(reader, wanted)
    scripts = sorted({unicodedata.name(c, "unnamed").split(" ")[0].capitalize() for c in letters})
    name = "rapidocr" if isinstance(reader, rapidocr.RapidOcrReader) else "easyocr in its languages"
    return f"{name} does not know these {' and '.join(scripts)} letters: {', '.join(letters[:8])}"


def _unknown(reader: TextReader, wanted: Sequence[str]) -> tuple[str, ...]:
    if isinstance(reader, rapidocr.RapidOcrReader):
        return rapidocr.unknown(wanted)
    if isinstance(reader, EasyOcrReader):
        return easyocr_files.unknown(wanted, reader.languages)
    return ()


def outcomes(reader: TextReader, pictures: Sequence[Pixels]) -> Sequence[Outcome]:
    """What it reads in each picture, many at once where it can."""
    if isinstance(reader, ByScript | EasyOcrReader):
        return reader.read_many(pictures)
    return [outcome(reader, picture) for picture in pictures]


def outcome(reader: TextReader, pixels: Pixels) -> Outcome:
    """What it reads in one picture, or why it could not."""
    try:
        return Outcome(reader.read(pixels))
    except LostReading as exc:
        return Outcome((), str(exc))


def line_as_json(line: TextLine) -> dict[str, object]:
    """Text, confidence to 4 digits, corners to a tenth of a px."""
    return {
        "text": line.text,
        "confidence": round(line.confidence, 4),
        "box": [[round(x, 1), round(y, 1)] for x, y in line.box],
    }
