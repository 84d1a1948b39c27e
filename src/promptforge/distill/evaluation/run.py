"""The whole evaluation of one student: measured, summed up, written.

<folder>/evaluation/student_gap.parquet   velocity errors; schemas/student_gap.sql
<folder>/evaluation/evaluation.json       every number
<folder>/evaluation/table.md              the same to read
<folder>/evaluation/pieces/               what is finished; a second call takes it from there
"""

from __future__ import annotations

import json
from pathlib import Path

from promptforge.distill.evaluation.bench import Bench, Models, Tell
from promptforge.distill.evaluation.held_out import cases_of
from promptforge.distill.evaluation.judges import also_selected, parts_of
from promptforge.distill.evaluation.pieces import as_parquet
from promptforge.distill.evaluation.summary import summarise
from promptforge.distill.evaluation.table import markdown
from promptforge.distill.settings import DistillSettings
from promptforge.files import put
from promptforge.reader import manifest
from promptforge.stages.parts import check_places


def run(settings: DistillSettings, folder: Path, tell: Tell, student: Path | None = None) -> Path:
    """See evaluation.evaluate. Raises ConfigError and EnvironmentFault before any work where it can be known."""
    place, given = folder / "evaluation", settings.evaluation
    cases = cases_of(settings.dataset, given, settings.split)
    parts = parts_of(given.scorers)
    check_places({f"evaluation.scorers.{name}": part for name, part in parts.items()})
    models = Models(settings, student or folder / "student")
    bench = Bench(given, models, place / "pieces", tell)
    found = bench.measure(cases)
    put(place / "student_gap.parquet", as_parquet(found.errors))
    summary = summarise(found, given)
    summary |= {"teacher": models.identity["teacher"], "student": models.identity["student"]}
    summary["also_selected"] = also_selected(parts, manifest(settings.dataset)["backends"]["scorers"])
    put(place / "evaluation.json", (json.dumps(summary, indent=1, sort_keys=True) + "\n").encode())
    put(place / "table.md", markdown(summary).encode())
    return place
