"""Measuring batch by batch, each batch kept: velocity errors, pictures, their distances and scores, cost.

Batches are fixed, so that what is kept does not depend on where a run was stopped. The teacher is loaded only if
something of its is missing, and let go before the scorers come.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from promptforge.distill import student as students
from promptforge.distill.evaluation import cost, distances, features, scoring, velocity
from promptforge.distill.evaluation import pictures as drawing
from promptforge.distill.evaluation.held_out import Case, pictured
from promptforge.distill.evaluation.judges import parts_of
from promptforge.distill.evaluation.pieces import Pieces
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.distill.evaluation.summary import Findings
from promptforge.distill.settings import DistillSettings
from promptforge.distill.teacher import Teacher
from promptforge.errors import EnvironmentFault
from promptforge.models import weights
from promptforge.models.diffusion.settings import describe
from promptforge.models.open_clip import tower_of
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels
from promptforge.stages.parts import Part, build_scorer
from promptforge.stages.render import decode, encode

Tell = Callable[[str, int, int], None]
Group = Sequence[Case]
SIDES = ("teacher", "student")
_PICTURE = pa.schema([("prompt_id", pa.string()), ("encoded", pa.binary()), ("error", pa.string())])
_VALUE = pa.schema([("prompt_id", pa.string()), ("metric", pa.string()), ("value", pa.float64())])
_VECTOR = pa.schema([("prompt_id", pa.string()), ("vector", pa.list_(pa.float32()))])


class Models:
    """Teacher and student, loaded when first asked for; `identity` names both without loading."""

    def __init__(self, settings: DistillSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        if not folder.is_dir():
            raise EnvironmentFault(f"{folder}: no student; promptforge distill makes one, --student names another")
        self.identity: dict[str, Any] = {
            "teacher": describe(settings.teacher, drawing.VERSION),
            "student": weights.identity(str(folder.absolute()), None, students.FILES)["sha256"],
        }

    @cached_property
    def teacher(self) -> Teacher:
        """The frozen pipeline."""
        return Teacher.load(self._settings.teacher)

    @cached_property
    def student(self) -> Any:
        """The student, in the type and on the device of the teacher, as a pipeline would have it."""
        return students.load(self._folder).eval().to(device=self.teacher.device, dtype=self.teacher.dtype)

    def release(self) -> None:
        """Give both back, for the memory that scorers want."""
        for name in SIDES:
            self.__dict__.pop(name, None)
        gc.collect()
        torch = load_torch()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class Pair(Protocol):
    """A teacher and a student, loaded or not."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What names "teacher" and "student" in the names of pieces; as JSON takes it."""
        ...

    @property
    def teacher(self) -> Teacher:
        """The frozen pipeline."""
        ...

    @property
    def student(self) -> Any:
        """The student, or anything that makes last_hidden_state of T5's input ids, on the teacher's device."""
        ...

    def release(self) -> None:
        """Free the accelerator, if that is wanted; either may be asked for again."""
        ...


class Bench:
    """Measures one student against its teacher."""

    def __init__(self, settings: Evaluation, models: Pair, folder: Path, tell: Tell = lambda *_: None) -> None:
        self._settings, self._models, self._tell = settings, models, tell
        shared = Path(settings.shared) if settings.shared else folder
        self._own, self._of = Pieces(folder), {"teacher": Pieces(shared), "student": Pieces(folder)}
        self._parts = parts_of(settings.scorers)
        self._scorers: dict[str, Any] = {}

    def measure(self, cases: Sequence[Case]) -> Findings:
        """Everything that the settings name."""
        errors = self.errors(cases)
        drawn = pictured(cases, self._settings)
        groups = self._groups(drawn)
        for done, group in enumerate(groups):
            for side in SIDES:
                self.pictures(group, side)
            self._tell("pictures", done + 1, len(groups))
        costs = self.cost(cases) if self._settings.cost else None
        self.__dict__.pop("_pen", None)  # it holds the teacher
        self._models.release()
        found = Findings(tuple(cases), errors, tuple(drawn), {name: part.kind for name, part in self._parts.items()})
        found.cost = costs
        for done, group in enumerate(groups):
            self._compare(group, found)
            self._tell("measures", done + 1, len(groups))
        return found

    def errors(self, cases: Sequence[Case]) -> pa.Table:
        """The table student_gap."""
        groups, tables = self._groups(cases), []
        for done, group in enumerate(groups):
            for number in range(self._settings.noises):
                identity = {**self._drawing(group, "student"), "noise": number, "version": velocity.VERSION}
                identity["cases"] = [asdict(case) for case in group]
                tables.append(
                    self._own.table(
                        "velocity",
                        identity,
                        lambda group=group, number=number: velocity.errors_of(  # type: ignore[misc]
                            self._models.student, self._models.teacher, group, number, self._settings
                        ),
                    )
                )
            self._tell("velocity errors", done + 1, len(groups))
        return velocity.joined(tables)

    def pictures(self, group: Group, side: str) -> pa.Table:
        """prompt_id, encoded, error of a batch, drawn by the teacher under its own embeddings or the student's."""

        def make() -> pa.Table:
            student = self._models.student if side == "student" else None
            drawn = self._pen.draw(group, student)
            rows: list[dict[str, Any]] = [
                {
                    "prompt_id": each.prompt_id,
                    "encoded": None if each.pixels is None else encode(each.pixels),
                    "error": each.error,
                }
                for each in drawn
            ]
            return pa.Table.from_pylist(rows, schema=_PICTURE)

        return self._of[side].table("pictures", self._drawing(group, side), make)

    def cost(self, cases: Sequence[Case]) -> dict[str, Any]:
        """What both encoders cost, measured once."""
        texts = [case.text for case in cases[: self._settings.batch]]
        identity = {**self._models.identity, "texts": texts, "batch": self._settings.batch}

        def make() -> pa.Table:
            found = cost.cost_of(self._models.teacher, self._models.student, texts, self._settings.batch)
            return pa.table({"json": [json.dumps(found, sort_keys=True)]})

        found: dict[str, Any] = json.loads(self._own.table("cost", identity, make)["json"][0].as_py())
        return found

    def _compare(self, group: Group, found: Findings) -> None:
        tables = {side: self.pictures(group, side) for side in SIDES}
        seen = {side: _Decoded(tables[side]) for side in SIDES}
        for side in SIDES:
            found.failures[side] += tables[side].num_rows - tables[side]["error"].null_count
            for name, part in self._parts.items():
                rows = self._of[side].table(
                    "scores", self._scoring(group, side, part), self._score(group, seen[side], part)
                )
                for row in rows.to_pylist():
                    found.scores.setdefault((name, row["metric"]), {}).setdefault(side, {})[row["prompt_id"]] = row[
                        "value"
                    ]
        drawn = {"pictures": [self._drawing(group, side) for side in SIDES]}
        near = self._own.table("distances", drawn, lambda: _distances(group, seen))
        if self._settings.dino is not None:
            dino = self._settings.dino
            identity = {**drawn, "dino": features.identity(dino)}
            more = self._own.table("distances", identity, lambda: _far_by(group, seen, features.load(dino)))
            near = pa.concat_tables([near, more])
        for row in near.to_pylist():
            found.distances.setdefault(row["metric"], {})[row["prompt_id"]] = row["value"]
        if self._settings.clip is not None:
            for side in SIDES:
                for row in self._vectors(group, side, seen[side]).to_pylist():
                    found.vectors.setdefault(side, {})[row["prompt_id"]] = np.array(row["vector"], np.float64)

    def _vectors(self, group: Group, side: str, seen: _Decoded) -> pa.Table:
        assert self._settings.clip is not None
        spec = self._settings.clip.tower_spec
        identity = {"tower": spec.identity(), "architecture": spec.architecture, "drawn": self._drawing(group, side)}

        def make() -> pa.Table:
            there = [(name, pixels) for name, pixels in seen.items() if pixels is not None]
            made = tower_of(spec).pictures([pixels for _, pixels in there]) if there else []
            rows = [{"prompt_id": name, "vector": v.tolist()} for (name, _), v in zip(there, made, strict=True)]
            return pa.Table.from_pylist(rows, schema=_VECTOR)

        return self._of[side].table("vectors", identity, make)

    def _score(self, group: Group, seen: _Decoded, part: Part) -> Callable[[], pa.Table]:
        def make() -> pa.Table:
            if part.name not in self._scorers:
                self._scorers[part.name] = build_scorer(part)
            pairs = [(case, seen[case.prompt_id]) for case in group]
            rows = scoring.score_rows(self._scorers[part.name], pairs, part.module.METRICS)
            return pa.Table.from_pylist(rows, schema=_VALUE)

        return make

    def _scoring(self, group: Group, side: str, part: Part) -> dict[str, Any]:
        drawn = self._drawing(group, side)
        return {"scorer": part.identity, "drawn": drawn, "cases": [asdict(case) for case in group]}

    def _drawing(self, group: Group, side: str) -> dict[str, Any]:
        """What decides the pictures of a batch."""
        who = {"teacher": self._models.identity["teacher"]}
        if side == "student":
            who["student"] = self._models.identity["student"]
        noises = [[case.prompt_id, case.noise_seed(0, self._settings.seed)] for case in group]
        return {**who, "version": drawing.VERSION, "noises": noises, "size": self._settings.size}

    def _groups(self, cases: Sequence[Case]) -> list[Group]:
        size = self._settings.batch
        return [cases[start : start + size] for start in range(0, len(cases), size)]

    @cached_property
    def _pen(self) -> drawing.Pen:
        return drawing.Pen(self._models.teacher, self._settings)


class _Decoded(Mapping[str, "Pixels | None"]):
    """Pictures of a batch by prompt_id, decoded when first looked at; the same array each time."""

    def __init__(self, table: pa.Table) -> None:
        self._encoded = dict(zip(table["prompt_id"].to_pylist(), table["encoded"].to_pylist(), strict=True))
        self._made: dict[str, Pixels | None] = {}

    def __getitem__(self, key: str) -> Pixels | None:
        if key not in self._made:
            encoded = self._encoded[key]
            self._made[key] = None if encoded is None else decode(encoded)
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


def _both(group: Group, seen: Mapping[str, _Decoded]) -> list[tuple[str, Pixels, Pixels]]:
    pairs = [(case.prompt_id, seen["teacher"][case.prompt_id], seen["student"][case.prompt_id]) for case in group]
    return [(name, one, other) for name, one, other in pairs if one is not None and other is not None]


def _distances(group: Group, seen: Mapping[str, _Decoded]) -> pa.Table:
    rows = [
        {"prompt_id": name, "metric": metric.__name__, "value": metric(one, other)}
        for name, one, other in _both(group, seen)
        for metric in (distances.pixel_mse, distances.ssim)
    ]
    return pa.Table.from_pylist(rows, schema=_VALUE)


def _far_by(group: Group, seen: Mapping[str, _Decoded], model: features.ImageFeatures) -> pa.Table:
    pairs = _both(group, seen)
    made = model([pixels for _, one, other in pairs for pixels in (one, other)])
    rows = [
        {"prompt_id": name, "metric": "dino", "value": distances.cosine_distance(made[2 * n], made[2 * n + 1])}
        for n, (name, _, _) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, schema=_VALUE)
