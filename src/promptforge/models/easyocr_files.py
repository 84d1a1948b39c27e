"""EasyOCR's models by language: which file reads what, and whether a file is the one that was released.

The weights are pickles and loading one can run code, so a file counts only where its MD5 is the one that the
installed release names in easyocr.config; nothing is ever downloaded. Nothing here imports easyocr, which loads torch.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.rapidocr import opencv_version
from promptforge.records import canonical_json

#: What decides the reading, besides the files. As RapidOCR keeps no line below 0.3: what EasyOCR makes of texture lies
#: near 0. Its other defaults stand: quantized weights (off here) would read differently on CPU and GPU.
SETTINGS: Mapping[str, Any] = {"quantize": False, "min_confidence": 0.1, "detector": "craft"}

DETECTOR_MB = 83


@dataclass(frozen=True, slots=True)
class Family:
    """Languages that one recogniser reads, English always among them; its generation and key in easyocr.config."""

    names: str
    generation: str
    model: str
    mb: int  #: size of its file: parameters at 4 bytes

    @property
    def languages(self) -> tuple[str, ...]:
        """EasyOCR's codes."""
        return tuple(self.names.split())


#: In the order in which EasyOCR looks for one that has a language. It lists sa, bgc and mni too, but lacks their files.
FAMILIES: tuple[Family, ...] = (
    Family("th", "gen1", "thai_g1", 215),
    Family("ch_tra", "gen1", "zh_tra_g1", 226),
    Family("ch_sim", "gen2", "zh_sim_g2", 22),
    Family("ja", "gen2", "japanese_g2", 17),
    Family("ko", "gen2", "korean_g2", 16),
    Family("ta", "gen1", "tamil_g1", 215),
    Family("te", "gen2", "telugu_g2", 15),
    Family("kn", "gen2", "kannada_g2", 15),
    Family("bn as", "gen1", "bengali_g1", 215),
    Family("ar fa ug ur", "gen1", "arabic_g1", 215),
    Family("hi mr ne bh mai ang bho mah sck new gom", "gen1", "devanagari_g1", 215),
    Family("ru rs_cyrillic be bg uk mn abq ady kbd ava dar inh che lbe lez tab tjk", "gen2", "cyrillic_g2", 15),
    Family(
        "af az bs cs cy da de es et fr ga hr hu id is it ku la lt lv mi ms mt nl no oc pi pl pt ro rs_latin sk sl sq sv"
        " sw tl tr uz vi",
        "gen2",
        "latin_g2",
        15,
    ),
)
ENGLISH = Family("en", "gen2", "english_g2", 15)

#: What `languages_of` chooses from: the first that knows every letter. English alone confuses fewest letters.
CHOICES: tuple[tuple[str, ...], ...] = (
    ENGLISH.languages,
    (*FAMILIES[-1].languages, "en"),
    ("ru", "be", "bg", "uk", "rs_cyrillic", "mn", "en"),
    ("ch_sim", "en"),
    ("ch_tra", "en"),
    ("ja", "en"),
    ("ko", "en"),
    ("ar", "fa", "ug", "ur", "en"),
    ("hi", "mr", "ne", "en"),
    ("bn", "as", "en"),
    ("th", "en"),
    ("ta", "en"),
    ("te", "en"),
    ("kn", "en"),
)


def check_languages(languages: Sequence[str]) -> None:
    """Raise ConfigError where EasyOCR has no model for this set of languages."""
    _family(tuple(languages))


def _family(languages: tuple[str, ...]) -> Family:
    """The recogniser that EasyOCR takes for these languages."""
    if languages == ENGLISH.languages:
        return ENGLISH
    known = sorted({"en", *(name for family in FAMILIES for name in family.languages)})
    unknown = sorted(set(languages) - set(known))
    if not languages or unknown:
        raise ConfigError(f"EasyOCR languages {list(languages)}: unknown are {unknown}; it knows {' '.join(known)}")
    family = next(each for each in FAMILIES if set(each.languages) & set(languages))
    strangers = sorted(set(languages) - {*family.languages, "en"})
    if strangers:
        raise ConfigError(
            f"EasyOCR languages {list(languages)}: no model reads {strangers[0]} together with"
            f" {next(each for each in languages if each in family.languages)}; with it go"
            f" {' '.join((*family.languages, 'en'))}"
        )
    return family


def languages_of(texts: Sequence[str]) -> tuple[str, ...] | None:
    """The first of CHOICES whose model knows every letter, digit and mark of the texts; None where there is none."""
    return next((choice for choice in CHOICES if not unknown(texts, choice)), None)


def unknown(texts: Sequence[str], languages: Sequence[str]) -> tuple[str, ...]:
    """The letters, digits and marks of the texts that the model of these languages has no answer for."""
    letters = {c for text in texts for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LMN"}
    return tuple(sorted(letters - _letters(tuple(languages))))


@lru_cache(maxsize=64)
def _letters(languages: tuple[str, ...]) -> frozenset[str]:
    """What EasyOCR can answer with in these languages: characters of the model that a language or its signs have."""
    family = _family(languages)
    model = release()["recognition_models"][family.generation][family.model]
    folder = _package() / "character"
    allowed = set(model["symbols"])
    for name in languages:
        allowed |= set("".join((folder / f"{name}_char.txt").read_text("utf-8-sig").splitlines()))
    return frozenset(allowed & set(model["characters"]))


def release() -> Mapping[str, Any]:
    """easyocr.config of the installed release: file names, hashes, addresses, characters. Importing it loads torch."""
    loaded = sys.modules.get("easyocr.config")
    return vars(loaded) if loaded is not None else _release(_package() / "config.py")


@cache
def _release(path: Path) -> Mapping[str, Any]:
    before = os.environ.copy()
    try:
        return runpy.run_path(str(path))
    finally:  # it sets LRU_CACHE_CAPACITY, which is the child's business
        os.environ.clear()
        os.environ.update(before)


def _package() -> Path:
    spec = find_spec("easyocr")
    if spec is None or spec.origin is None:
        raise EnvironmentFault("easyocr is not installed; install the models extra: make setup-models")
    return Path(spec.origin).parent


def folder_of(folder: str | None) -> Path:
    """The folder with the model files; EasyOCR's own where none is given."""
    return Path(folder).expanduser() if folder else Path(release()["MODULE_PATH"]) / "model"


def wanted_models(languages: Sequence[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """What the release says of the detector and the recogniser, and their sizes in MB."""
    yield release()["detection_models"][SETTINGS["detector"]], DETECTOR_MB
    family = _family(tuple(languages))
    yield release()["recognition_models"][family.generation][family.model], family.mb


def verified(folder: str | None, languages: Sequence[str]) -> dict[str, str]:
    """MD5 by file name of the models for these languages, all there and unchanged.

    Raises EnvironmentFault naming every file that is missing (size, and where it is to be had), or one that differs.
    """
    where = folder_of(folder)
    hashes = {}
    absent = []
    for model, mb in wanted_models(languages):
        path = where / model["filename"]
        if not path.is_file():
            absent.append((f"{path} ({mb} MB)", str(model["url"])))
            continue
        stat = path.stat()
        seen = _md5(path, stat.st_size, stat.st_mtime_ns)
        if seen != model["md5sum"]:
            raise EnvironmentFault(
                f"{path}: MD5 is {seen}, EasyOCR {version('easyocr')} says {model['md5sum']}; loading it could run"
                f" code, so only the released file is taken: fetch {model['url']} anew"
            )
        hashes[model["filename"]] = seen
    if absent:
        files, addresses = (" and ".join(each) for each in zip(*absent, strict=True))
        raise EnvironmentFault(
            f"{files}: no such file; EasyOCR {version('easyocr')} needs {'it' if len(absent) == 1 else 'them'} for"
            f" {' '.join(languages)}: fetch {addresses} and unpack into {where}"
        )
    return hashes


@lru_cache(maxsize=64)
def _md5(path: Path, size: int, changed: int) -> str:
    """MD5 of a file, once a process while its size and time stay."""
    del size, changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def identity(languages: Sequence[str] | None = ENGLISH.languages) -> dict[str, str]:
    """Versions, languages, settings and the release's hashes; reads no model, for no other file is ever loaded.

    None: languages by `languages_of`. Raises EnvironmentFault where EasyOCR is not installed.
    """
    sets = CHOICES if languages is None else (tuple(languages),)
    models = {model["filename"]: model["md5sum"] for each in sets for model, _ in wanted_models(each)}
    return {
        "engine": f"easyocr {version('easyocr')}",
        "runtime": f"torch {version('torch').partition('+')[0]}",
        "resize": f"opencv {opencv_version()}",
        "languages": canonical_json(sets),
        "models": canonical_json(models),
        "settings": canonical_json(SETTINGS),
    }
