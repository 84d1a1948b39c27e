"""What a set of prompts covers, in the measures of the literature. Pure functions over a table of prompts.

From Li et al., On the Scalability of Diffusion-based Text-to-Image Generation (arXiv 2404.02883), with each prompt in
its picture's place: noun_pairs is their I-N (image-noun pairs; a noun counts once a picture), unique_nouns UN,
nouns_per_prompt N/I. Which extractor the paper used is not stated in what we read of it; ours is nouns.py, so compare
sets by one extractor alone.
distinct_n (Li et al. 2016, arXiv 1510.03055): distinct n-grams of words over all n-grams, none across two prompts.
UN and distinct_n depend on the size of a set: compare sets of one size.

Memory: some 60 bytes a word for the time of the call, 1 GB a million prompts of 17 words.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.filters.words.tokens import Floats, Ints, Tokens, tokens_of
from promptforge.records import AXES
from promptforge.stages.coverage.nouns import Nouns, nouns_of
from promptforge.stages.coverage.settings import ALL

VERSION = 1

#: Measures that need the words of every prompt, and so most of the time.
_NOUNS = ("noun_pairs", "unique_nouns", "nouns_per_prompt")
_GRAMS = {"distinct_1": 1, "distinct_2": 2, "distinct_3": 3}
_LENGTHS = {"words_p05": 0.05, "words_p50": 0.5, "words_p95": 0.95}
MEASURES: tuple[str, ...] = (
    *("prompts", *_NOUNS, *_GRAMS, *_LENGTHS),
    *("templates", "template_share", "natural_share", "near_duplicate_share", "source_share"),
)
#: What is a share of the prompts, or a mean: of no prompts there is none.
RATIOS = frozenset({*MEASURES} - {"prompts", "noun_pairs", "unique_nouns", "templates"})
WHOLE = frozenset({"prompts", "noun_pairs", "unique_nouns", "templates", *_LENGTHS})

Row = dict[str, Any]


@dataclass(frozen=True)
class Prompts:
    """Prompts to be measured: `rows` has text, axis, source, template, natural, keep_image and n_words.

    `near` counts the near duplicates that were dropped and the rows that were kept, by axis.
    """

    rows: pa.Table
    near: Mapping[str, tuple[int, int]]

    def by_axis(self) -> Ints:
        """Place of each row's axis in AXES."""
        return self.codes("axis", AXES)

    def codes(self, column: str, values: Iterable[str]) -> Ints:
        """Place of each row's value among these."""
        places = pc.index_in(self.rows[column], value_set=pa.array(list(values), pa.string()))
        found: Ints = places.to_numpy().astype(np.int64)
        return found


def table(prompts: Prompts, want: Collection[str] = MEASURES) -> tuple[list[Row], Nouns | None]:
    """Rows of coverage_measures, and the nouns of each prompt where a measure wanted them."""
    rows: list[Row] = []
    nouns = nouns_of(prompts.rows["text"]) if set(want) & set(_NOUNS) else None
    for scope in ("prompts", "pictures"):
        some, mine = prompts.rows, nouns
        if scope == "pictures":
            kept = np.asarray(prompts.rows["keep_image"].to_numpy(), bool)
            some, mine = some.filter(pa.array(kept)), nouns and _only(nouns, kept)
        part = Prompts(some, prompts.near)
        for names, groups in (((ALL,), np.zeros(some.num_rows, np.int64)), (AXES, part.by_axis())):
            found = measure(some, groups, len(names), mine, want)
            for place, axis in enumerate(names):
                near = prompts.near.get(axis, (0, 0))
                for name in (each for each in MEASURES if each in want and each != "source_share"):
                    value, detail = found[name][place] if name in found else (_share(near[0], sum(near)), None)
                    if name in found or scope == "prompts":
                        rows.append({"scope": scope, "axis": axis, "measure": name, "value": value, "detail": detail})
                if scope == "prompts" and "source_share" in want:
                    rows += [
                        {"scope": scope, "axis": axis, "measure": "source_share", "value": value, "detail": source}
                        for source, value in found["source_share"][place]
                    ]
    return rows, nouns


def measure(
    rows: pa.Table, groups: Ints, n_groups: int, nouns: Nouns | None, want: Collection[str] = MEASURES
) -> dict[str, list[Any]]:
    """Measure -> (value, detail) of each group; source_share: (source, share) pairs, the largest first.

    A ratio of no prompts is None. `groups` gives the group of each row, `nouns` are those of the rows.
    """
    counts = np.bincount(groups, minlength=n_groups)
    found: dict[str, Any] = {"prompts": counts}
    if nouns is not None:
        pairs = np.bincount(groups[nouns.row], minlength=n_groups)
        size = max(len(nouns.vocabulary), 1)
        unique = np.unique(groups[nouns.row] * size + nouns.noun) // size
        found |= {
            "noun_pairs": pairs,
            "unique_nouns": np.bincount(unique, minlength=n_groups),
            "nouns_per_prompt": _ratio(pairs, counts),
        }
    if set(want) & set(_GRAMS):
        found |= _distinct(tokens_of(rows["text"]), groups, n_groups)
    if set(want) & set(_LENGTHS):
        found |= _lengths(rows["n_words"].to_numpy(), groups, counts)
    natural = np.asarray(rows["natural"].to_numpy(), bool)
    found["natural_share"] = _ratio(np.bincount(groups[natural], minlength=n_groups), counts)
    listed: dict[str, list[Any]] = {name: [(_plain(value), None) for value in values] for name, values in found.items()}
    templates = [list(_largest(rows, "template", groups == place)) for place in range(n_groups)]
    sources = [list(_largest(rows, "source", groups == place)) for place in range(n_groups)]
    listed["templates"] = [(len(each), None) for each in templates]
    listed["template_share"] = [
        ((each[0][1] / count, each[0][0]) if each else (0.0 if count else None, None))
        for each, count in zip(templates, counts.tolist(), strict=True)
    ]
    listed["source_share"] = [
        [(name, n / count) for name, n in each] for each, count in zip(sources, counts.tolist(), strict=True)
    ]
    return {name: values for name, values in listed.items() if name in want}


def _only(nouns: Nouns, kept: npt.NDArray[np.bool_]) -> Nouns:
    """The nouns of these rows alone, which are numbered anew."""
    mine = kept[nouns.row]
    return Nouns((np.cumsum(kept) - 1)[nouns.row[mine]], nouns.noun[mine], nouns.vocabulary)


def _distinct(tokens: Tokens, groups: Ints, n_groups: int) -> dict[str, Floats]:
    """distinct_1, distinct_2 and distinct_3 of each group."""
    row = np.repeat(np.arange(len(groups)), tokens.counts)
    size = max(len(tokens.vocabulary), 1)
    gram, place, found = tokens.codes, np.arange(len(row)), {}
    for name, n in _GRAMS.items():
        if n > 1:
            # Runs of n words: the run of n - 1, numbered densely so that both fit into 64 bits, and the word after it.
            run = np.full(len(row), -1, np.int64)
            run[place] = np.unique(gram, return_inverse=True)[1]
            place = np.flatnonzero(row[: len(row) - n + 1] == row[n - 1 :]) if len(row) >= n else place[:0]
            gram = run[place] * size + tokens.codes[place + n - 1]
        mine = groups[row[place]]
        ids = np.unique(gram, return_inverse=True)[1]
        n_ids = int(ids.max()) + 1 if len(ids) else 1
        unique = np.unique(mine * n_ids + ids) // n_ids
        found[name] = _ratio(np.bincount(unique, minlength=n_groups), np.bincount(mine, minlength=n_groups))
    return found


def _lengths(words: Ints, groups: Ints, counts: Ints) -> dict[str, list[int | None]]:
    """The fewest words that this share of a group's prompts does not exceed."""
    ranked = words[np.lexsort((words, groups))]
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    found = {}
    for name, share in _LENGTHS.items():
        places = first + np.maximum(np.ceil(share * counts - 1e-9).astype(np.int64), 1) - 1
        found[name] = [
            int(ranked[place]) if n else None for place, n in zip(places.tolist(), counts.tolist(), strict=True)
        ]
    return found


def _largest(rows: pa.Table, column: str, mine: npt.NDArray[np.bool_]) -> Iterator[tuple[str, int]]:
    """Values of a column among these rows and how many rows each has, the largest first; nulls count for nothing."""
    counts = pc.value_counts(pc.drop_null(rows[column].filter(pa.array(mine))))
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    yield from sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _ratio(some: Ints, of: Ints) -> Floats:
    """Share of each group; nan of none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = some / of
    return found


def _share(some: int, of: int) -> float | None:
    return some / of if of else None


def _plain(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
