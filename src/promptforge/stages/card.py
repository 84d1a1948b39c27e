"""The data set card: what was made, from what, and what was dropped, in figures out of the tables.

Holds no date, host or folder, so that two runs give the same bytes. Whatever a person or a prompt wrote is escaped
down to plain letters before it gets here.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from promptforge import schema
from promptforge.records import AXES, canonical_json
from promptforge.stages.content import Content
from promptforge.stages.coverage.settings import ALL
from promptforge.stages.coverage.shown import HEADS, LEGEND, percent, written
from promptforge.stages.front_matter import front_matter
from promptforge.stages.run import Run
from promptforge.stages.shards import INDEX_COLUMNS, PICTURE_COLUMNS, PROMPT_COLUMNS, SPLITS, Written
from promptforge.stages.teachability import shown

#: Share of natural captions of image quality below which the card's first lines say so.
NATURAL = 0.7

#: Teachers that come with promptforge and need no weights: good for testing it, not for training on.
EMBEDDED_TEACHERS = ("canvas",)

_SPLITS = {
    "train": "what is to be trained on",
    "test_words": "prompts whose words to be drawn are reserved: no such word, nor an inflection of it, is in train",
    "test_composition": "prompts with a reserved pair (thing, attribute) or triple (thing, relation, thing): each word"
    " is in train, the combination is not",
    "test_natural": "a share of the prompts from files, drawn by a hash of their split_group",
}

# Where the meaning of a column stands, if not in the table prompts under the same name.
_DOCUMENTED_AT = {
    "text": ("prompts", "text_clean"),
    "n_takes": ("selection", "n_takes"),
    "n_passed": ("selection", "n_passed"),
    **shown.DOCUMENTED_AT,
    "split": ("selection", "split"),
    "keep_image": ("selection", "keep_image"),
    "image_reason": ("selection", "image_reason"),
    "image_id": ("images", "image_id"),
    **{name: ("images", name) for name in ("take", "seed", "width", "height", "teacher")},
    "teacher_licence": ("images", "licence"),
    "sha256": ("images", "sha256"),
    "file": ("published", "file"),
    "file_row": ("published", "file_row"),
}


def card(run: Run, content: Content, schemas: Mapping[str, pa.Schema], files: Mapping[str, Written]) -> str:
    """README.md: YAML front matter for the hub, then the text. `schemas` has data only where there are pictures."""
    from huggingface_hub import DatasetCard

    front = front_matter(run, content, schemas, files)
    sections = [*_opening(run, content, "data" in schemas), *_figures(run, content), *_reference(run, content, schemas)]
    return str(DatasetCard(f"---\n{front}\n---\n\n" + "\n\n".join(sections) + "\n"))


def plain(text: object, most: int = 200) -> str:
    """Text that no Markdown or HTML reader can take for anything but letters; at most `most` characters of it."""
    line = " ".join(str(text).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return _SIGN.sub(_as_number, line)


# All but letters, digits and what means nothing to Markdown where it stands: an underscore within a word, a colon
# or full stop that begins no link.
_SIGN = re.compile(
    r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=/)|(?<=w)\.|[^\w ,'/;%\"()?!:.-]|[^\x00-\x7f]", re.IGNORECASE
)


def _as_number(sign: re.Match[str]) -> str:
    letter = sign[0]
    if letter.isascii():
        return f"&#{ord(letter)};"
    # An invisible letter (a bidi override, a lone surrogate) is shown by its number.
    return letter if letter.isprintable() else f"&#92;u{ord(letter):04x}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join('' if cell is None else plain(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _opening(run: Run, content: Content, has_pictures: bool) -> list[str]:
    figures = content.figures
    n_prompts, n_pictures = (sum(row[place] for row in figures["splits"]) for place in (2, 3))
    n_grammar = figures["grammar"][0][0]
    lines = []
    drawn = "The pictures are" if figures["teachers"] else "Pictures that were taken over are"
    for teacher in _embedded_teachers(run, content):
        lines.append(
            f"**{drawn} drawings of promptforge's embedded {teacher} teacher, made for testing the pipeline:"
            " they are not what a diffusion model draws.**"
        )
    natural = _measured(content)["prompts", "image_quality"]["natural_share"]
    if natural is not None and natural < NATURAL:
        lines.append(
            f"**Of the prompts for image quality {percent(natural)} are natural captions; a grammar wrote the rest,"
            " with less variety than people have.**"
        )
    lines.append(f"# {plain(run.recipe.publish.pretty_name)}")
    lines.append(
        "Prompts for distilling the text encoder of a text-to-image model, on three axes: image quality, semantic"
        f" understanding, text rendering. {n_prompts} accepted prompts, {n_pictures} of them with a picture that may be"
        f" used; {_origins(content, n_prompts, n_grammar)}."
        " Made by promptforge; manifest.json holds the recipe, the backends and the SHA-256 of every file."
    )
    if not n_prompts:
        lines.append("No prompt was accepted, so there is nothing to load.")
        return lines
    if not has_pictures:
        lines.append("There are no pictures here: both configs hold prompts only.")
    if n_grammar < n_prompts:
        lines.append("The language of prompts that do not come from the grammar was not looked at.")
    lines.append(
        "```python\nfrom datasets import load_dataset\n\n"
        + ('pictures = load_dataset("path/to/this/folder")  # accepted prompts whose picture may be used\n')
        * has_pictures
        + 'prompts = load_dataset("path/to/this/folder", "prompts")  # every accepted prompt\n```'
    )
    return lines


def _embedded_teachers(run: Run, content: Content) -> list[str]:
    """Embedded teachers that drew pictures of this set, or of the sets in it."""
    drew = {run.parts.teacher.kind} if content.figures["teachers"] else set()
    older = content.extends
    while older is not None:
        teacher = older["backends"]["teacher"]
        if {item["fingerprint"] for item in teacher["pictures"]}.intersection(older["teachers"]):
            drew.add(teacher["kind"])
        older = older["extends"]
    return sorted(drew.intersection(EMBEDDED_TEACHERS))


def _origins(content: Content, n_prompts: int, n_grammar: int) -> str:
    if content.extends is None:
        return f"{n_grammar} prompts were made by the embedded grammar and {n_prompts - n_grammar} come from elsewhere"
    n_taken = content.extends["rows"]
    return (
        f"{n_taken} of them were published before and are taken over; of the new ones {n_grammar} were made by the"
        f" embedded grammar and {n_prompts - n_taken - n_grammar} come from elsewhere"
    )


def _extended(content: Content) -> list[str]:
    """What is said of the set that this one adds to."""
    found = content.extends
    if found is None:
        return []
    left = f" {found['left_out']} of its rows are left out, since their text was purged." if found["left_out"] else ""
    counts = found["counts"]
    return [
        "## What it adds to",
        f"{found['rows']} rows are those of {plain(found['name'])}, digest {found['digest']}, with the ids, splits,"
        f" scores and pictures that they had there; its gates and scorers stand in manifest.json.{left} What was in a"
        " test there is in that test here, and no row that was added has its prompt, resembles it, or is of its pair or"
        " family in another split. Fates, coverage, teacher and gates on this card are those of the rows that were"
        " added.",
        _table(
            ("split", "axis", "prompts taken over", "pictures"),
            [
                (split, axis, counts[split][axis]["prompts"], counts[split][axis]["pictures"])
                for split in SPLITS
                for axis in AXES
                if axis in counts.get(split, {})
            ],
        ),
        _table(("source", "licence of the prompts", "prompts taken over"), found["sources"]),
        f"Its pictures were drawn by the teachers of fingerprint {', '.join(found['teachers'])}; their licences:"
        f" {plain(', '.join(found['picture_licences']))}."
        if found["teachers"]
        else "It has no pictures.",
    ]


def _figures(run: Run, content: Content) -> list[str]:
    figures = content.figures
    by_split = {(row[0], row[1]): f"{row[2]} / {row[3]}" for row in figures["splits"]}
    splits = [name for name in SPLITS if any(row[0] == name for row in figures["splits"])]
    fates = {(row[0], row[1]): row[2] for row in figures["fates"]}
    kinds = ("unreadable", "dropped", "not_selected", "not_needed", "accepted")
    axes = [axis for axis in (*AXES, "") if any(key[0] == axis for key in fates)]
    sections = [
        "## Splits",
        "Prompts / pictures. A split group (pair, parent family, or the prompt itself) is never torn between splits.",
        _table(
            ("split", *AXES, "what it is"),
            [(split, *(by_split.get((split, axis), "0 / 0") for axis in AXES), _SPLITS[split]) for split in splits],
        ),
        *_extended(content),
        "## Categories",
        _table(("axis", "category", "prompts", "pictures"), figures["coverage"]),
        *_coverage(content),
        *shown.on_card(figures["teachability"]),
        "## From candidates to prompts",
        "Every input row is in one column. not_selected: a gate or its split group refused it; not_needed: the quota"
        " was full before it.",
        _table(
            ("axis", "rows in", *kinds),
            [
                (
                    axis or "(none)",
                    sum(fates.get((axis, kind), 0) for kind in kinds),
                    *(fates.get((axis, kind), 0) for kind in kinds),
                )
                for axis in axes
            ],
        ),
    ]
    if figures["lost"]:
        sections += [
            "Rows that were not accepted, by reason:",
            _table(("axis", "stage", "check", "reason", "rows"), figures["lost"]),
        ]
    if figures["withheld"]:
        sections += [
            "Accepted prompts whose picture is not in data/, by the first reason:",
            _table(("axis", "reason", "prompts"), figures["withheld"]),
        ]
    sections += [
        "## Sources and licences",
        _table(("source", "licence of the prompts", "rows in", "accepted"), figures["sources"]),
        *_makers(run, content),
        "## Examples",
        "The first prompts of train by prompt_id:",
        _table(("axis", "prompt"), figures["examples"]),
    ]
    return sections


def _measured(content: Content) -> dict[tuple[str, str], dict[str, float | None]]:
    """(scope, axis) -> measure -> value."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in content.measures.to_pylist():
        if row["measure"] in HEADS:
            found.setdefault((row["scope"], row["axis"]), {})[row["measure"]] = row["value"]
    return found


def _coverage(content: Content) -> list[str]:
    measured = _measured(content)
    rows = []
    for axis in (*AXES, ALL):
        for scope, what in (("prompts", "all"), ("pictures", "with a usable picture")):
            values = measured[scope, axis]
            if values["prompts"]:
                rows.append((axis, what, *(written(name, values.get(name)) for name in HEADS)))
    return [
        "## Coverage",
        f"{LEGEND} The same figures: table coverage_measures of the run.",
        _table(("axis", "which", *HEADS.values()), rows),
    ]


def _makers(run: Run, content: Content) -> list[str]:
    figures = content.figures
    drew = "" if figures["teachers"] else " Nothing was rendered."
    sections = ["## Teacher", f"Module {plain(run.parts.teacher.kind)}.{drew}"]
    for fingerprint, regime, drawn, errors, licence in figures["teachers"]:
        sections += [
            f"Fingerprint {plain(fingerprint)}: {drawn} pictures drawn, {errors} failed. Licence of the pictures:"
            f" {plain(licence)}.",
            _table(("setting", "value"), [(name, _word(value)) for name, value in sorted(json.loads(regime).items())]),
        ]
    sections += [
        "## Which pictures may be used",
        f"Policy {run.recipe.select.policy}. A picture is in data/ where it passes every gate of its axis; a metric"
        " that does not apply passes. One that decides keep_prompt drops the prompt too; quantile: refuses this share.",
        _table(
            ("gate", "decides", "axes", "scorer", "metric", "at least", "at most", "one of", "quantile", "validated"),
            figures["gates"],
        )
        if figures["gates"]
        else "There are no gates: every picture that was drawn may be used.",
    ]
    if any(row[-1] == "no" for row in figures["gates"]):
        sections.append(
            "validated: no means that nobody has measured this bound against labels on this teacher's pictures."
        )
    judges = [part for part in run.parts.scorers if part.role == "evaluate"]
    if judges:
        names = ", ".join(plain(part.name) for part in judges)
        sections.append(f"Scorers that only evaluate, and decided nothing: {names}.")
    return sections


def _word(value: object) -> object:
    return value if isinstance(value, str | int | float) else canonical_json(value)


def _reference(run: Run, content: Content, schemas: Mapping[str, pa.Schema]) -> list[str]:
    both = "data/ and prompts/" if "data" in schemas else "prompts/"
    sections = [
        "## Columns",
        "index.parquet has all of these but the picture, and where the picture lies; it opens in DuckDB as it is.",
        _table(
            ("column", "in", "meaning"),
            [
                *((name, both, _meaning(name)) for name in PROMPT_COLUMNS),
                *((name, "data/", _meaning(name)) for name in PICTURE_COLUMNS),
                (
                    "image",
                    "data/",
                    f"the picture, lossless {run.recipe.publish.format}; path is image_id and its ending",
                ),
                *((name, "data/", "a score, explained below") for name in content.scores),
                *((name, "index.parquet", _meaning(name)) for name in INDEX_COLUMNS),
            ],
        ),
    ]
    if content.scores:
        sections += [
            "## Scores",
            "A column is named scorer_metric, or metric where that says it. Null: does not apply.",
        ]
        if content.extends is not None:
            sections.append(
                "Rows that were taken over have the scores that they had; what one side did not measure is null there."
            )
        for part in run.parts.scorers:
            sections += [f"### {plain(part.name)}", f"```text\n{inspect.cleandoc(part.module.__doc__ or '')}\n```"]
    return sections


def _meaning(name: str) -> str:
    table, column = _DOCUMENTED_AT.get(name, ("prompts", name))
    return next(item.comment for item in schema.describe(table).columns if item.name == column)
