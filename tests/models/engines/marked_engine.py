"""An engine that does what the first pixel says, for the tests of the process around it; its one line is its pid."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from promptforge.errors import EnvironmentFault
from promptforge.models.reader_process import serve
from promptforge.protocols import Pixels, TextLine

PLAIN, CRASH, HANG, RAISE, GROW = range(5)
_KEPT: list[bytes] = []


class MarkedEngine:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        if "refuse" in settings:
            raise EnvironmentFault(settings["refuse"])
        if "break" in settings:
            raise ValueError(settings["break"])
        if "die" in settings:
            sys.stderr.write("last words\n")
            sys.stderr.flush()
            os.abort()
        time.sleep(settings.get("load_s", 0))

    def read_many(self, pictures: Sequence[Pixels], how: Mapping[str, Any]) -> list[list[TextLine]]:
        return [[self._read(picture, how)] for picture in pictures]

    def _read(self, picture: Pixels, how: Mapping[str, Any]) -> TextLine:
        mark = picture[0, 0, 0]
        if mark == CRASH:
            os.abort()
        if mark == HANG:
            time.sleep(600)
        if mark == RAISE:
            raise RuntimeError("odd picture")
        if mark == GROW:
            _KEPT.append(b"x" * (300 << 20))
        size = float(picture.sum())
        return TextLine(f"{os.getpid()}{how.get('say', '')}", 0.5, ((0.0, 0.0), (size, 0.0), (size, 1.5), (0.0, 1.5)))


if __name__ == "__main__":
    serve(MarkedEngine, sys.argv[1:])
