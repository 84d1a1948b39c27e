"""Prompts with the final latent and the picture of each by number, as EcoDiff caches them to train its masks.

    prompts.tsv      no header; prompt, prompt_id, image_id, seed; row i is number i
    cache/<i>.pt     the final latent, a tensor as torch.save writes it; read it with torch.load(weights_only=True)
    cache/<i>.png    the picture

EcoDiff takes the first column of the table and draws only where a number's two files are missing: `size` at most the
number of rows, and save_dir is cache/. Its train.py draws every prompt from one seed; these have each its own, in
column 4: let it draw a row from that (a generator on the CPU, float32), else it learns from another noise's pictures.
FLUX's pipeline hands out packed latents (patches x channels): take form=packed for it, unpacked (channels x height x
width, as the VAE scales them) for all others. Rows are sorted by split and prompt_id. The latents are those that the
run stored (regime.store_latents).
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pydantic import Field

from promptforge.errors import ConfigError
from promptforge.export.folder.captioned import PER_PIECE
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Published
from promptforge.export.folder.stored import WithRun, files_of, parts_of, run_of
from promptforge.protocols import RawTensor
from promptforge.store import Store, TableFile

VERSION = 1
PICTURES = True
LEFT_OUT = "the run holds no latents of their pictures"
USE = """python - <<'END'    # in EcoDiff's folder; with data.metadata {folder}/prompts.tsv and save_dir {folder}/cache
import torch
print(torch.load("{folder}/cache/0.pt", weights_only=True).shape)
END"""


class Params(WithRun):
    """Which rows, the run that stored their latents, and the form of these."""

    form: Literal["unpacked", "packed"] = Field("unpacked", description="packed: as FLUX's pipeline returns latents")


def fitting(source: Published, rows: pa.Table, params: Params) -> pa.Table:
    """Rows whose latent the run holds, with the file that holds it.

    Raises ConfigError where the run stored none.
    """
    run = run_of(source, params)
    names, ids = [], []
    for item, part in parts_of(run, "latents", ["image_id"]):
        ids += part["image_id"].to_pylist()
        names += [item.name] * part.num_rows
    if not ids:
        raise ConfigError(
            f"{run}: no latents here; --set run=FOLDER names the run that made the data set, and its recipe must have"
            " [regime] store_latents = true from the first picture on"
        )
    places = pc.index_in(rows["image_id"], value_set=pa.array(ids, pa.string()))
    rows = rows.append_column("latents_file", pc.take(pa.array(names, pa.string()), places))
    return rows.filter(pc.is_valid(places))


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """The table; a piece for each file of latents, so that each is read once; pictures by 256."""
    store = Store(run_of(source, params))
    output.piece("prompts", partial(_prompts, rows=rows))
    numbers: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows.select(["latents_file", "image_id"]).to_pylist()):
        numbers.setdefault(row["latents_file"], {})[row["image_id"]] = number
    for item in files_of(store.root, "latents"):
        if mine := numbers.get(item.name):
            part = partial(_latents, store=store, item=item, numbers=mine, packing=params.form == "packed")
            output.piece(f"latents-{PurePosixPath(item.name).stem}", part)
    for start in range(0, rows.num_rows, PER_PIECE):
        part = partial(_pictures, source=source, rows=rows.slice(start, PER_PIECE), start=start)
        output.piece(f"pictures-{start:09d}", part)


def _prompts(piece: Piece, rows: pa.Table) -> None:
    sink = io.StringIO()
    # Quoted as pandas.read_csv reads it by default: most prompts for text hold quotation marks.
    table = csv.writer(sink, delimiter="\t", lineterminator="\n")
    for row in rows.select(["text", "prompt_id", "image_id", "seed"]).to_pylist():
        table.writerow(row.values())
    piece.put("prompts.tsv", sink.getvalue().encode())


def _latents(piece: Piece, store: Store, item: TableFile, numbers: dict[str, int], packing: bool) -> None:
    from promptforge.models.diffusion.tensors import packed, saved

    for row in store.read(item).to_pylist():
        number = numbers.get(row["image_id"])
        if number is not None:
            latent = RawTensor(row["dtype"], tuple(row["shape"]), row["data"])
            piece.put(f"cache/{number}.pt", saved(packed(latent) if packing else latent))


def _pictures(piece: Piece, source: Published, rows: pa.Table, start: int) -> None:
    for number, encoded in enumerate(source.pictures(rows), start):
        with Image.open(io.BytesIO(encoded)) as image:
            image.convert("RGB").save(piece.path(f"cache/{number}.png"), "PNG")
