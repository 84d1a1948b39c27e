"""Bytes of a run folder by table, of the published set, of what a trainer would read, and memory by stage.

A table takes so many bytes a file and so many a row, as measured; pictures are measured by axis, since one full of
letters is not as large as a sky. Where nothing is measured nothing is said of pictures, but that bounds exist: at most
three bytes a pixel. Peak: a run that publishes again holds the old set and the new side by side until it swaps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptforge.models.diffusion.settings import Settings
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages.forecast.amounts import Amount, Sampler, total
from promptforge.stages.forecast.basis import Files, Measured, text_bytes
from promptforge.stages.forecast.lines import Line
from promptforge.stages.forecast.rows import Axis, files
from promptforge.stages.run import DATASET

UNKNOWN = "unknown; --pilot 100 measures it"

#: Tables by what they grow with; those of a rank come in many files. Others are taken as they are.
_DRIVEN = {
    **dict.fromkeys(("prompts", "verdicts", "contamination", "prompt_scores", "sentence_vectors"), "candidates"),
    **dict.fromkeys(("selection", "arrangement", "questions", "responses", "gap_cells"), "kept"),
    **dict.fromkeys(
        ("images", "scores", "measured", "render_plan", "lookalikes", "latents", "teachability", "take_outcomes"),
        "pictures",
    ),
    **dict.fromkeys(("embeddings",), "prompts"),
    **dict.fromkeys(("published", "prompt_nouns"), "accepted"),
}
_OF_RANKS = ("images", "scores", "latents", "embeddings")

#: Width of T5-XXL's embeddings; its tokens are the regime's max_sequence_length, 77 to 512 in what trainers use.
T5_WIDTH, LATENT_CHANNELS, VAE_FACTOR = 4096, 16, 8
_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}


def disk_lines(
    recipe: Recipe, params: Any, axes: Mapping[str, Axis], measured: Measured | None, sampler: Sampler
) -> tuple[list[Line], Amount | None, Amount | None]:
    """Lines by table and part of the set; bytes at the peak and those of dataset/data, None where unknown."""
    lines: list[Line] = []
    pixels = {axis: _pixels(axis, axes[axis], params, measured, sampler) for axis in AXES}
    for axis, (drawn, _, said) in pixels.items():
        lines.append(Line.of(("disk", "pixels", axis, "bytes"), drawn, said))
    all_pixels = total([drawn for drawn, _, _ in pixels.values()])
    said = "sum of the axes" if all_pixels.is_known else "three bytes a pixel at most"
    lines.append(Line.of(("disk", "pixels", None, "bytes"), all_pixels, said))
    data = total([axes[axis].usable * a_picture for axis, (_, a_picture, _) in pixels.items()])
    if measured is None:
        lines.append(Line.unknown(("disk", "tables", None, "bytes"), UNKNOWN))
        lines.append(Line.of(("disk", f"{DATASET}/data", None, "bytes"), data, said))
        lines.append(Line.unknown(("disk", "peak", None, "bytes"), UNKNOWN))
        return lines, None, data
    tables = []
    n = files(recipe, axes, sampler)
    for table, there in measured.files.items():
        if table == "pixels":
            continue
        size, said = _table(table, there, axes, measured, n)
        tables.append(size)
        lines.append(Line.of(("disk", table, None, "bytes"), size, said))
    factor, said = _packing(measured)
    data = data * factor
    parts = {"data": (data, said), **_text_parts(axes, measured)}
    for part, (size, said) in parts.items():
        lines.append(Line.of(("disk", f"{DATASET}/{part}", None, "bytes"), size, said))
    published = total([size for size, _ in parts.values()])
    records = _records(recipe, measured, n)
    lines.append(Line.of(("disk", "_commits", None, "bytes"), records, "a record for each piece of work"))
    whole = total([all_pixels, *tables, records, published])
    lines.append(Line.of(("disk", "all", None, "bytes"), whole, "sum of the above"))
    peak = whole + published
    lines.append(
        Line.of(("disk", "peak", None, "bytes"), peak, f"publishing again: {DATASET} old and new side by side")
    )
    return lines, peak, data


def _pixels(
    axis: str, rows: Axis, params: Any, measured: Measured | None, sampler: Sampler
) -> tuple[Amount, Amount, str]:
    """Bytes of the axis's pictures, of one of them, and what that rests on."""
    seen = measured.pictures.get(axis) if measured else None
    if measured is None or seen is None:
        size = getattr(params, "size", None)
        most = 3.0 * size * size if isinstance(size, int) else 0.0
        known = Amount.exactly(0) if rows.pictures.high == 0 else Amount.between(0, most)
        return rows.pictures * known, known, f"three bytes a pixel at most; {UNKNOWN}" if most else UNKNOWN
    n, size_of, squares = seen
    a_picture = sampler.mean(size_of, squares, n)  # Parquet adds some 2 kB a file: within its error
    return rows.drawn * a_picture, a_picture, f"{size_of / n / 1024:,.0f} KiB a picture, {n:,} looked at"


def _all_bytes(measured: Measured) -> float:
    n = sum(count for count, _, _ in measured.pictures.values())
    return sum(size for _, size, _ in measured.pictures.values()) / n if n else 0.0


def _table(table: str, there: Files, axes: Mapping[str, Axis], measured: Measured, n: Amount) -> tuple[Amount, str]:
    """Bytes of a table; `n` are the files that rendering makes of one."""
    driver = _DRIVEN.get(table)
    if driver is None:
        return Amount.exactly(there.size, measured.basis), "as large as there"
    before = _counted(measured, driver)
    now = total([getattr(axis, driver) for axis in axes.values()])
    if not before:
        return Amount.exactly(there.size, measured.basis), "as large as there"
    grown = now / float(before)
    if table in _OF_RANKS and driver == "pictures":
        said = f"{there.each:,.0f} bytes a file, {n.expected or 0:,.0f} files"
        return grown * (there.a_row * there.rows) + n * there.each, said
    return grown * (there.a_row * there.rows) + there.each * there.n_files, f"{there.size / before:,.0f} bytes a row"


def _counted(measured: Measured, driver: str) -> int:
    judged = (measured.judged or {}).values()
    return {
        "candidates": sum(text.rows for text in measured.text.values()),
        "kept": sum(text.kept for text in measured.text.values()),
        "pictures": sum(each.pictures for each in judged),
        "prompts": sum(each.prompts for each in judged),
        "accepted": measured.published[0],
    }[driver]


def _packing(measured: Measured) -> tuple[float, str]:
    """Bytes of dataset/data for each byte of its pictures as they were rendered."""
    a_picture = _all_bytes(measured)
    if not (a_picture and measured.published[1] and measured.dataset["data"]):
        return 1.0, "as rendered; nothing was published there"
    factor = measured.dataset["data"] / (measured.published[1] * a_picture)
    return factor, f"{factor:.2f} of the rendered bytes, as there"


def _text_parts(axes: Mapping[str, Axis], measured: Measured) -> dict[str, tuple[Amount, str]]:
    accepted = total([axis.accepted for axis in axes.values()])
    rows = measured.published[0]
    found = {}
    for part in ("prompts", "index.parquet"):
        size = measured.dataset[part]
        found[part] = (accepted * (size / rows if rows else 0.0), f"{size / rows if rows else 0:,.0f} bytes a row")
    found["other"] = (Amount.exactly(measured.dataset["other"], measured.basis), "card and manifest, as there")
    return found


def _records(recipe: Recipe, measured: Measured, n: Amount) -> Amount:
    """Every file of pictures has a record; scores come in as many."""
    before = measured.files.get("images")
    ranks = 2 if recipe.scorers and not recipe.run.score_in_render else 1
    each = measured.records / measured.n_records
    more = (n + -float(before.n_files if before else 0)) * (ranks * each)
    return (Amount.exactly(measured.records, measured.basis) + more).at_least(0.0)


def trainer_lines(params: Any, axes: Mapping[str, Axis], measured: Measured | None, data: Amount | None) -> list[Line]:
    """What a trainer reads in each mode: prompts alone, pictures, stored latents, stored embeddings."""
    accepted = total([axis.accepted for axis in axes.values()])
    usable = total([axis.usable for axis in axes.values()])
    lines = []
    size, rows = text_bytes(measured.root / DATASET) if measured else (0, 0)
    key = ("trainer", "prompts", None, "bytes")
    if rows:
        lines.append(Line.of(key, accepted * (size / rows), f"{size / rows:,.0f} bytes of text a prompt"))
    else:
        lines.append(Line.unknown(key, UNKNOWN))
    if data is not None:
        lines.append(Line.of(("trainer", "pictures", None, "bytes"), data, f"{DATASET}/data"))
    if not isinstance(params, Settings) or params.pipeline == "auto":
        token = T5_WIDTH * 2
        low, high = accepted.low * 77 * token, accepted.high * 512 * token
        said = "were they T5-XXL's: prompts x 77 to 512 tokens x 4096 x 2 bytes (bf16)"
        return [*lines, Line("trainer", "embeddings", None, "bytes", low, None, high, accepted.basis, said)]
    a_number = _BYTES[params.dtype]
    side = params.size // VAE_FACTOR
    latent = LATENT_CHANNELS * side * side * a_number
    said = f"pictures x 16 x {side} x {side} x {a_number} bytes ({params.dtype})"
    lines.append(Line.of(("trainer", "latents", None, "bytes"), usable * latent, said))
    # Stable Diffusion 3 puts CLIP's 77 tokens in front of T5's, and both CLIPs' pooled vectors together: 768 + 1280.
    tokens = (params.length or 512) + (77 if params.pipeline == "sd3" else 0)
    pooled = 0 if params.pooled == "zero" else {"flux": 768, "sd3": 2048}[params.pipeline]
    each = (tokens * T5_WIDTH + pooled) * a_number
    said = f"prompts x ({tokens} x 4096 + {pooled}) x {a_number} bytes ({params.dtype})"
    return [*lines, Line.of(("trainer", "embeddings", None, "bytes"), accepted * each, said)]


#: Peaks of resident memory, MiB at 2 and at 10 million rows, from benchmarks/results/large.json; 113 before any row.
_PEAKS = {"dedup": (1698, 7185), "decontaminate": (1115, 4599), "plan": (803, 3334), "select": (1151, 5519)}
_BEFORE, _TEXT_SHARD = 113, 630


def memory_lines(recipe: Recipe, axes: Mapping[str, Axis]) -> list[Line]:
    """Memory of the stages of which a peak by rows was measured elsewhere; between its two points a straight line."""
    rows = total([axis.candidates for axis in axes.values()])
    most = min(1.0, recipe.run.shard_rows / 50_000)
    mib = float(1 << 20)
    shard = (_BEFORE + (_TEXT_SHARD - _BEFORE) * most * min(1.0, rows.high / 50_000)) * mib
    said = "630 MiB for a shard of 50,000 rows, measured elsewhere (benchmarks/README.md)"
    lines = [Line("memory", "filter", None, "bytes", _BEFORE * mib, shard, _TEXT_SHARD * mib, "published", said)]
    skipped = {"decontaminate"} if recipe.decontaminate is None else set()
    for stage, (two, ten) in _PEAKS.items():
        if stage in skipped:
            continue
        n = rows.high / 1e6
        peak = _BEFORE + (two - _BEFORE) * n / 2 if n <= 2 else two + (ten - two) * (n - 2) / 8
        said = f"{two:,} MiB at 2 million rows, {ten:,} at 10, measured elsewhere (benchmarks/results/large.json)"
        high = max(float(two), peak * 1.25) * mib
        lines.append(Line("memory", stage, None, "bytes", _BEFORE * mib, peak * mib, high, "published", said))
    return lines
