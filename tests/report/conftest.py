"""Catalogs with as many rows as a test wants, and a browser to open the report of one in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from promptforge import schema
from promptforge.records import AXES, content_id
from promptforge.report.page import write_report
from tests.browser import Browser, browser

Say = Callable[[str, int], str]  #: field and number of the row -> what stands in it


def plainly(field: str, number: int) -> str:
    return f"{field} {number}"


def encoded(seed: int, side: int = 96) -> bytes:
    """A picture of smooth noise, as WebP."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).save(sink, "WEBP", quality=80)
    return sink.getvalue()


class Filled:
    """An empty catalog, and a way to put rows into it; columns that are left out are null."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.con = duckdb.connect(":memory:")
        for text in schema.ddl().values():
            self.con.execute(text)
        self.con.execute(schema.views_sql())
        (root / "dataset").mkdir(parents=True)
        self.manifest({"name": "made", "seed": 3})

    def manifest(self, recipe: Mapping[str, Any]) -> None:
        whole = {"digest": "d" * 64, "recipe": recipe}
        (self.root / "dataset" / "manifest.json").write_text(json.dumps(whole), "utf-8")

    def put(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        made = pa.Table.from_pylist(list(rows), schema=schema.arrow_schema(table))
        self.con.register("made", made)
        self.con.execute(f"INSERT INTO {table} SELECT * FROM made")
        self.con.unregister("made")

    def pictures(
        self,
        n: int,
        *,
        say: Say = plainly,
        kept: Callable[[int], bool] = lambda number: number % 3 > 0,
        values: Callable[[int], Mapping[str, float]] = lambda number: {"sharpness": float(number)},
        blobs: int = 20,
    ) -> None:
        """n accepted prompts with a picture each, axis after axis; `values` are metrics of the scorer technical."""
        numbers = range(n)
        axis = [AXES[number % 3] for number in numbers]
        rows, prompts, images = (
            [content_id(kind, number) for number in numbers] for kind in ("row", "prompt", "image")
        )
        self.put(
            "prompts",
            (
                {
                    "row_id": rows[i],
                    "source": say("source", i % 5),
                    "source_part": say("part", i % 5),
                    "source_row": i,
                    "stream_order": i,
                    "licence": say("licence", i % 5),
                    "text": say("text", i),
                    "text_clean": say("text", i),
                    "prompt_id": prompts[i],
                    "fold_key": prompts[i],
                    "repairs": [],
                    "axis": axis[i],
                    "category": say("category", i % 7),
                    "style": say("style", i % 7),
                    "expected_text": [say("wanted", i)] if axis[i] == "text_rendering" else [],
                    "n_words": 3 + i % 30,
                    "n_chars": 20,
                }
                for i in numbers
            ),
        )
        self.put(
            "images",
            (
                {
                    "image_id": images[i],
                    "prompt_id": prompts[i],
                    "take": 0,
                    "seed": i,
                    "teacher": "t" * 32,
                    "regime": json.dumps({"model": say("model", 0), "revision": say("revision", 0)}),
                    "licence": say("teacher licence", 0),
                    "provenance": "{}",
                    "error": say("error", i) if i % 50 == 9 else None,
                    "sha256": None if i % 50 == 9 else "0" * 64,
                }
                for i in numbers
            ),
        )
        some = [encoded(seed) for seed in range(blobs)]
        self.put("pixels", ({"image_id": images[i], "encoded": some[i % blobs]} for i in numbers if i % 50 != 9))
        self.put(
            "render_plan",
            (
                {
                    "image_id": images[i],
                    "prompt_id": prompts[i],
                    "take": 0,
                    "seed": i,
                    "teacher": "t" * 32,
                    "bucket": 0,
                    "round": 0,
                    "fixed": False,
                }
                for i in numbers
            ),
        )
        good = [kept(i) and i % 50 != 9 for i in numbers]
        self.put(
            "selection",
            (
                {
                    "row_id": rows[i],
                    "prompt_id": prompts[i],
                    "axis": axis[i],
                    "split": "train",
                    "state": "accepted",
                    "keep_prompt": True,
                    "keep_image": good[i],
                    "image_id": images[i],
                    "image_reason": None if good[i] else "render_error" if i % 50 == 9 else say("gate", 0),
                    "n_takes": 1,
                    "n_passed": int(good[i]),
                }
                for i in numbers
            ),
        )
        self.put("measured", ({"image_id": each, "scorer": "technical", "digest": "0" * 32} for each in images))
        self.put(
            "scores",
            (
                {"image_id": images[i], "scorer": "technical", "digest": "0" * 32, "metric": name, "value": value}
                for i in numbers
                for name, value in values(i).items()
            ),
        )
        self.put("published", ({"prompt_id": each, "split": "train", "keep_image": False} for each in prompts))

    def read(self, say: Say, n: int) -> None:
        """What a reader read in the pictures, and words of a metric."""
        lines = ({"lines": [{"text": say("reading", i)}]} for i in range(n))
        self.put(
            "measured", ({"image_id": content_id("image", i), "scorer": "text", "digest": "1" * 32} for i in range(n))
        )
        self.put(
            "scores",
            (
                {
                    "image_id": content_id("image", i),
                    "scorer": "text",
                    "digest": "1" * 32,
                    "metric": metric,
                    "detail": said,
                }
                for i, line in enumerate(lines)
                for metric, said in (("reading", json.dumps(line)), ("verdict", say("verdict", i % 3)))
            ),
        )

    def report(self) -> Path:
        return write_report(self.root, self.con)


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path / "made")


@pytest.fixture(scope="session")
def chromium(need_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(need_tool("chromium"), tmp_path_factory.mktemp("browser")) as found:
        yield found
