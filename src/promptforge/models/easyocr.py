"""EasyOCR as a TextReader: CRAFT finds lines, a CRNN reads them; in a child process, on the rank's GPU if there is one.

Its weights are pickles and loading one can run code, so a file is loaded only where its MD5 is the one that the
installed release names (easyocr.config), and nothing is ever downloaded. On a GPU pictures of one size are detected
`batch` at a time, a short batch filled up with black ones, so that a picture is read the same whatever comes with it;
a CPU takes them singly, which is no slower. About 1 GB; on one CPU core 1 s a picture of 512 px.
Not covered: text turned by a quarter or more, vertical text, and pairs of scripts that no one model knows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from promptforge.models.easyocr_files import (
    ENGLISH,
    SETTINGS,
    folder_of,
    identity,
    verified,
    wanted_models,
)
from promptforge.models.reader_process import Limits, LostReading, Outcome, ReaderProcess, serve
from promptforge.models.reading_order import in_reading_order
from promptforge.models.torch_setup import device_of, load_torch
from promptforge.protocols import Pixels, TextLine
from promptforge.records import canonical_json

_KEPT_SETS = 4  # sets of languages whose models stay loaded: up to 230 MB each


@dataclass(frozen=True, slots=True)
class Settings:
    """How EasyOCR is run. None of it but the languages decides what is read, rounding on another device apart.

    `folder` holds the model files (None: EasyOCR's own, ~/.EasyOCR/model); `threads` are the CPU's, as RapidOCR has
    one an engine; the GPU is rank % n_gpus.
    """

    folder: str | None = None
    gpu: bool = True
    rank: int = 0
    batch: int = 8
    threads: int = 1
    limits: Limits = field(default_factory=Limits)


class EasyOcrReader:
    """Reads in one set of languages. Raises EnvironmentFault where EasyOCR or a file is missing, or a file differs."""

    def __init__(self, settings: Settings, languages: Sequence[str] = ENGLISH.languages) -> None:
        self.languages = tuple(languages)
        self.identity = canonical_json(identity(self.languages))
        self._settings = settings
        self._files = verified(settings.folder, self.languages)
        told = {**asdict(settings), "folder": str(folder_of(settings.folder)), "first": self._how()}
        self.process = ReaderProcess(__name__, told, settings.limits)

    def in_languages(self, languages: Sequence[str]) -> EasyOcrReader:
        """A reader of other languages in the same child process."""
        if tuple(languages) == self.languages:
            return self
        files = verified(self._settings.folder, languages)
        other = object.__new__(EasyOcrReader)
        other.__dict__ |= self.__dict__ | {
            "languages": tuple(languages),
            "identity": canonical_json(identity(tuple(languages))),
            "_files": files,
        }
        return other

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        """The lines in reading order. Raises LostReading where the engine failed twice on this picture."""
        (outcome,) = self.read_many([pixels])
        if outcome.fault:
            raise LostReading(outcome.fault)
        return outcome.lines

    def read_many(self, pictures: Sequence[Pixels]) -> tuple[Outcome, ...]:
        """The outcome of each picture, in order; pictures of one size go to the engine together."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, picture in enumerate(pictures):
            places.setdefault(picture.shape, []).append(place)
        found: dict[int, Outcome] = {}
        for same in places.values():
            for start in range(0, len(same), self._settings.batch):
                some = same[start : start + self._settings.batch]
                read = self.process.read_many([pictures[place] for place in some], self._how())
                found |= zip(some, read, strict=True)
        return tuple(found[place] for place in range(len(pictures)))

    def _how(self) -> dict[str, Any]:
        return {"languages": self.languages, "files": self._files}

    def close(self) -> None:
        """End the child process, whoever shares it; the next read starts another."""
        self.process.close()


class _Engine:
    """In the child: an easyocr.Reader a set of languages, all with one detector."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        torch = load_torch()
        torch.set_num_threads(settings["threads"])
        self._device = device_of(settings["rank"]) if settings["gpu"] else "cpu"
        if self._device != "cpu":
            torch.cuda.set_device(self._device)
        self._folder = settings["folder"]
        self._batch = 1 if self._device == "cpu" else settings["batch"]
        self._readers: dict[tuple[str, ...], Any] = {}
        self._detector: Any = None
        first = settings["first"]  # loaded now, not at the first picture, whose time is limited
        self._reader(tuple(first["languages"]), first["files"])

    def read_many(self, pictures: Sequence[Pixels], how: Mapping[str, Any]) -> list[tuple[TextLine, ...]]:
        """`how`: languages, and the MD5 that each file must have."""
        reader = self._reader(tuple(how["languages"]), how["files"])
        found: list[tuple[TextLine, ...]] = []
        for start in range(0, len(pictures), self._batch):
            found += self._read(reader, pictures[start : start + self._batch])
        return found

    def _read(self, reader: Any, pictures: Sequence[Pixels]) -> Iterator[tuple[TextLine, ...]]:
        import cv2

        batch = np.zeros((self._batch, *pictures[0].shape), dtype=np.uint8)
        batch[: len(pictures)] = pictures
        # detect and recognize are what readtext calls; readtext itself takes an array for BGR.
        level, slanting = reader.detect(batch, reformat=False)
        for picture, boxes, free in zip(pictures, level, slanting, strict=False):
            grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
            yield in_reading_order(
                TextLine(text, float(confidence), tuple((float(x), float(y)) for x, y in box))
                for box, text, confidence in reader.recognize(grey, boxes, free, reformat=False)
                if text.strip() and confidence >= SETTINGS["min_confidence"]
            )

    def _reader(self, languages: tuple[str, ...], files: Mapping[str, str]) -> Any:
        reader = self._readers.pop(languages, None)
        if reader is None:
            reader = self._load(languages, files)
        self._readers[languages] = reader  # the last used stand last
        while len(self._readers) > _KEPT_SETS:
            del self._readers[next(iter(self._readers))]
        return reader

    def _load(self, languages: tuple[str, ...], files: Mapping[str, str]) -> Any:
        import easyocr

        for model, _ in wanted_models(languages):
            model["md5sum"] = files[model["filename"]]  # what the parent checked; EasyOCR compares once more
        path = sys.path.copy()
        reader = easyocr.Reader(
            list(languages),
            gpu=False if self._device == "cpu" else self._device,
            model_storage_directory=self._folder,
            user_network_directory=self._folder,  # else it makes a folder in the home directory
            download_enabled=False,
            detector=self._detector is None,
            verbose=False,
            quantize=SETTINGS["quantize"],
        )
        sys.path[:] = path  # it appends the folder, from which nothing shall be imported
        # On a GPU they come in DataParallel over every GPU, which wants the first one to hold them.
        reader.recognizer = getattr(reader.recognizer, "module", reader.recognizer)
        if self._detector is None:
            self._detector = getattr(reader.detector, "module", reader.detector), reader.get_textbox
        reader.detector, reader.get_textbox = self._detector
        return reader


if __name__ == "__main__":
    serve(_Engine, sys.argv[1:])
