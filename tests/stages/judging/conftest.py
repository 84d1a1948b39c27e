"""Tables up to the scores, of pictures that nobody drew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from promptforge import records, schema
from promptforge.stages.run import Run, prepare
from promptforge.stages.score import wanted_scores

Row = dict[str, Any]
METRICS = {
    "technical": ("sharpness", "black"),
    "agreement": ("colour_agreement",),
    "text": ("cer", "verdict"),
}


class Case:
    """A run with `select` as told, and a database of prompts and pictures; `scores` by (prompt number, take)."""

    def __init__(self, root: Path, raw: Row, select: Mapping[str, Any]) -> None:
        raw["scorers"] = {"technical": {}, "agreement": {}, "text": {}}
        raw["select"] = dict(select)
        self.run: Run = prepare(root, raw, "test")
        self.con = duckdb.connect()
        for text in schema.ddl().values():
            self.con.execute(text)
        self.con.execute(schema.views_sql())
        self.images: list[Row] = []

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        made = pa.Table.from_pylist(list(rows), schema=schema.arrow_schema(table))
        self.con.register("incoming", schema.conform(table, made))
        self.con.execute(f'INSERT INTO "{table}" SELECT * FROM incoming')

    def prompts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Number n in the list is prompt n of the stream; axis, category, style, text_clean, n_words as told."""
        made = []
        for number, row in enumerate(rows):
            text = row.get("text_clean", f"prompt {number}")
            name = records.prompt_id(f"prompt {number}")
            made.append(
                {
                    **{"row_id": f"r{number:05d}", "source": "s", "source_part": "p", "source_row": number},
                    **{"stream_order": number, "licence": "unstated", "text": text, "text_clean": text},
                    **{"prompt_id": name, "fold_key": name, "repairs": [], "axis": "image_quality"},
                    **{"expected_text": ["WORD"], "scene": records.Scene().to_json(), "scene_origin": "parsed"},
                    **{"noise_group": name, "split_group": name, "split": "train", "n_words": 2},
                }
                | dict(row)
            )
        self.insert("prompts", made)

    def pictures(self, scores: Mapping[tuple[int, int], Mapping[str, Any] | None]) -> None:
        """(number, take) -> values of 'scorer.metric' (words are details); None is a render that failed."""
        for (number, take), values in scores.items():
            name = records.prompt_id(f"prompt {number}")
            self.images.append(
                {
                    **{"image_id": records.image_id(name, "t", take), "prompt_id": name, "take": take, "seed": 1},
                    **{"teacher": "t", "regime": "{}", "licence": "CC0-1.0", "provenance": "{}"},
                    **{"sha256": None if values is None else "0" * 64, "error": "no" if values is None else None},
                }
            )
        self.insert("images", self.images)
        plan = [
            {key: row[key] for key in ("image_id", "prompt_id", "take", "seed", "teacher")}
            | {"bucket": 0, "round": 0, "fixed": True}
            for row in self.images
        ]
        self.insert("render_plan", plan)
        by_image = dict(zip((row["image_id"] for row in self.images), scores.values(), strict=True))
        made = []
        for image, scorer, digest in self.con.sql(f"FROM ({wanted_scores(self.run.parts.scorers)})").fetchall():
            for metric in METRICS[scorer]:
                given = (by_image[image] or {}).get(f"{scorer}.{metric}")
                word = isinstance(given, str)
                for name, stale in ((digest, False), ("f" * 32, True)):  # an older measurement, which must not count
                    made.append(
                        {
                            **{"image_id": image, "scorer": scorer, "digest": name, "metric": metric},
                            "value": -99.0 if stale else None if word else given,
                            "detail": given if word and not stale else None,
                        }
                    )
        self.insert("scores", made)

    def failed(self) -> dict[tuple[int, int], str | None]:
        """(number, take) -> first gate that it fails, from the table takes."""
        numbers = {records.prompt_id(f"prompt {n}"): n for n in range(len(self.images))}
        rows = self.con.sql("SELECT prompt_id, take, first_failed FROM takes").fetchall()
        return {(numbers[prompt], take): first for prompt, take, first in rows}


@pytest.fixture
def case(tmp_path: Path, tiny: Callable[[], Row]) -> Callable[..., Case]:
    """Makes a Case from the settings of [select]."""
    return lambda **select: Case(tmp_path / "run", tiny(), select)
