"""The prompts that a student is measured on, none of which it was trained on, and the noise of each.

Of each axis in each split the first prompts in the order of a hash of seed and prompt_id are taken, so that 300 prompts
contain the 100 of a shorter evaluation. Members of a minimal pair start from one noise, as when they were rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptforge import reader, records, texts
from promptforge.distill.evaluation.settings import Evaluation, HeldOut
from promptforge.errors import ConfigError
from promptforge.records import AXES

TEST_SPLITS: tuple[HeldOut, ...] = ("test_words", "test_composition", "test_natural")


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt of the evaluation; `scene` is JSON as the data set has it."""

    prompt_id: str
    text: str
    axis: str
    split: str
    category: str | None = None
    noise_group: str | None = None
    expected_text: tuple[str, ...] = ()
    scene: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], split: str) -> Case:
        """The case of a row of reader.prompts."""
        return cls(
            prompt_id=row["prompt_id"],
            text=row["text"],
            axis=row["axis"],
            split=split,
            category=row.get("category"),
            noise_group=row.get("noise_group"),
            expected_text=tuple(row.get("expected_text") or ()),
            scene=row.get("scene"),
        )

    @property
    def n_words(self) -> int:
        """Words as prompts.n_words counts them."""
        return texts.n_words(self.text)

    def noise_seed(self, number: int, seed: int) -> int:
        """Seed of starting latent `number`."""
        return records.noise_seed(self.noise_group or self.prompt_id, number, seed)


def cases_of(dataset: str, settings: Evaluation, trained_on: str = "train") -> list[Case]:
    """The prompts, by split and axis. Raises ConfigError where a split is not there, or was trained on."""
    there = {name.split("/")[1].split("-")[0] for name in reader.manifest(dataset)["files"] if name.count("/") == 1}
    wanted = settings.splits or tuple(split for split in TEST_SPLITS if split in there and split != trained_on)
    if trained_on in wanted:
        raise ConfigError(f"evaluation.splits: {trained_on!r} is what the student learnt from; name another split")
    found = [case for split in wanted for case in _of_split(dataset, split, settings)]
    if not found:
        raise ConfigError(
            f"{dataset}: no prompt is held out ({', '.join(sorted(there))}); a recipe reserves some with filters.split"
        )
    return found


def _of_split(dataset: str, split: str, settings: Evaluation) -> list[Case]:
    cases = [Case.of(row, split) for row in reader.prompts(dataset, split)]
    cases.sort(key=lambda case: records.content_id("evaluation", settings.seed, case.prompt_id))
    return [case for axis in AXES for case in [case for case in cases if case.axis == axis][: settings.prompts]]


def pictured(cases: Sequence[Case], settings: Evaluation) -> list[Case]:
    """Those that are drawn: the first of each axis in each split."""
    counts: dict[tuple[str, str], int] = {}
    found = []
    for case in cases:
        key = case.split, case.axis
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= settings.pictures:
            found.append(case)
    return found
