"""The writer of published files beside MosaicML's and Hugging Face's on the same encoded pictures.

    python benchmarks/writers.py --peers /tmp/peers     # the environment that readers.py makes
    python benchmarks/writers.py [--pictures 512] [--small 16384] [--rounds 3]

Rows are id, text and an encoded picture, in memory before a clock runs: 512 px as in readers.py (lossless WebP, 275 kB)
and 64 px of the same kind (4 kB). Each writer runs in a process of its own, in turns with the others, `rounds` times:
it writes each size three times into a new folder, and the median counts. Processor time is that of the process with
all its threads; wall time ends when the last call of the writer returns.

    promptforge          published files as publish writes them: row groups of 64 MiB or 256 rows, content-defined
                         chunking, fsync, SHA-256 of each file; four files
    promptforge, plain   the same without content-defined chunking, a page for every 16 pictures (a page of a whole
                         group costs page faults)
    hf, hf plain         Dataset.to_parquet of a data set that is in memory, with content-defined chunking (its default)
                         and without; no fsync, no sum; one file
    mds, mds sha256      MDSWriter as it comes (shards of 64 MiB, no sum) and with hashes=["sha256"]; no fsync

Medians, MB/s and ratios go to results/writers.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from reader_parts.forms import build, picture, rows_of, torch_for_streaming

RESULTS = Path(__file__).resolve().parent / "results" / "writers.json"
REPEATS = 3
FILES = 4
#: Name -> whether it runs here; the rest run in the environment of --peers.
WRITERS = {"promptforge": True, "promptforge, plain": True, "hf": True, "hf, plain": True, "mds": False}
WRITERS |= {"mds, sha256": False}
Rows = list[dict[str, Any]]


def ours(rows: Rows, name: str) -> Callable[[Path], object]:
    """Files of data/, as publish writes them."""
    import pyarrow as pa

    from promptforge.stages import shards

    if name.endswith("plain"):
        shards._PAGES = {"use_content_defined_chunking": False, "write_batch_size": 16}
    table = pa.Table.from_pylist([{"prompt_id": r["prompt_id"], "text": r["text"]} for r in rows])
    schema = shards.hub_schema(table.schema, pictures=True)
    table = table.append_column("image_id", table["prompt_id"])
    per_file = -(-len(rows) // FILES)

    def write(folder: Path) -> None:
        def groups(number: int) -> Iterator[pa.Table]:
            part = slice(number * per_file, (number + 1) * per_file)
            pictures = (row["image"] for row in rows[part])
            return shards.picture_groups(table.slice(part.start, per_file), schema, pictures, "webp")

        names = {f"data/train-{number:05d}-of-{FILES:05d}.parquet": number for number in range(FILES)}
        shards.write_files(folder, {name: (schema, partial(groups, number)) for name, number in names.items()})

    return write


def hugging_face(rows: Rows, name: str) -> Callable[[Path], object]:
    """One Parquet file of an in-memory Dataset."""
    import datasets

    datasets.disable_progress_bars()
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in ("prompt_id", "text")}
    columns["image"] = [{"bytes": row["image"], "path": f"{row['prompt_id']}.webp"} for row in rows]
    text = datasets.Value("string")
    features = datasets.Features({"prompt_id": text, "text": text, "image": datasets.Image()})
    data = datasets.Dataset.from_dict(columns, features=features)
    more = {"use_content_defined_chunking": False} if name.endswith("plain") else {}
    return lambda folder: data.to_parquet(str(folder / "train.parquet"), **more)


def mds(rows: Rows, name: str) -> Callable[[Path], object]:
    """MosaicML's shards."""
    torch_for_streaming()
    from streaming import MDSWriter

    columns = {"prompt_id": "str", "text": "str", "image": "bytes"}
    hashes = ["sha256"] if name.endswith("sha256") else None

    def write(folder: Path) -> None:
        with MDSWriter(out=str(folder), columns=columns, hashes=hashes, exist_ok=True) as out:
            for row in rows:
                out.write(row)

    return write


def pictures_of(folder: Path, size: str, n: int) -> Rows:
    """The rows to be written: those of readers.py, or `n` small ones out of 1,024 pictures."""
    if size == "512 px":
        return list(rows_of(folder))
    images = [bytes.fromhex(line) for line in (folder / "small.txt").read_text().split()]
    return [
        {"prompt_id": f"{n:032x}", "text": f"a pot of tea, number {n}, on a table", "image": images[n % len(images)]}
        for n in range(n)
    ]


def build_small(folder: Path) -> None:
    """1,024 pictures of 64 px; cut out of those of 512."""
    from PIL import Image

    if (folder / "small.txt").exists():
        return
    found = []
    for number in range(16):
        image = Image.open(io.BytesIO(picture(number)))
        for place in range(64):
            left, top = 64 * (place % 8), 64 * (place // 8)
            sink = io.BytesIO()
            image.crop((left, top, left + 64, top + 64)).save(sink, "WEBP", lossless=True, method=0)
            found.append(sink.getvalue().hex())
    (folder / "small.txt").write_text("\n".join(found))


def run_writer(name: str, folder: Path, small: int) -> dict[str, Any]:
    """Every figure of one writer, in this process."""
    make = {"p": ours, "h": hugging_face, "m": mds}[name[0]]
    found = {}
    for size in ("512 px", "64 px"):
        rows = pictures_of(folder, size, small)
        write = make(rows, name)
        mb = sum(len(row["image"]) for row in rows) / 1e6
        times = []
        for _ in range(REPEATS):
            out = Path(tempfile.mkdtemp(dir=folder))
            os.sync()
            begun, clock = time.process_time(), time.perf_counter()
            write(out)
            times.append((time.process_time() - begun, time.perf_counter() - clock))
            written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            assert written > mb, (written, mb)
            shutil.rmtree(out)
        cpu, wall = (statistics.median(each) for each in zip(*times, strict=True))
        found[size] = {"cpu_ms": 1e3 * cpu / len(rows), "wall_ms": 1e3 * wall / len(rows), "mb": mb}
        found[size] |= {"mb_per_cpu_s": mb / cpu, "mb_per_s": mb / wall}
    return found


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Processor and wall time of the others over ours, with and without chunking; over 1 is better for us."""
    said = {}
    for size in ("512 px", "64 px"):
        for mine in ("promptforge", "promptforge, plain"):
            for other in sorted(set(found) - {"promptforge", "promptforge, plain"}):
                for unit in ("cpu", "wall"):
                    value = found[other][size][f"{unit}_ms"] / found[mine][size][f"{unit}_ms"]
                    said[f"{size}, {unit}: {other} / {mine}"] = round(value, 2)
    return said


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="folder with the environment of MosaicML streaming; without it MDS is left out")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "promptforge-readers"))
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--small", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writer", help="one writer, in this process")
    options = parser.parse_args()
    folder = Path(options.folder)
    if options.writer:
        print(json.dumps(run_writer(options.writer, folder, options.small)))
        return
    build(folder, options.pictures)
    build_small(folder)
    load = [os.getloadavg()[0]]
    runs: dict[str, list[Any]] = {}
    names = [name for name, here in WRITERS.items() if here or options.peers]
    for turn in range(options.rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            python = sys.executable if WRITERS[name] else str(Path(options.peers) / "env/bin/python")
            call = [python, __file__, "--writer", name, "--folder", str(folder), "--small", str(options.small)]
            said = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout
            runs.setdefault(name, []).append(json.loads(said.splitlines()[-1]))
            load.append(os.getloadavg()[0])
            print(turn, name, json.dumps(runs[name][-1]), flush=True)
    found = {
        name: {
            size: {unit: round(statistics.median(one[size][unit] for one in each), 4) for unit in each[0][size]}
            for size in each[0]
        }
        for name, each in runs.items()
    }
    record = {
        "machine": {"processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "load_average": [round(min(load), 1), round(max(load), 1)],
        "pictures": {"512 px": options.pictures, "64 px": options.small},
        "rounds": options.rounds,
        "writers": found,
        "ratios": ratios(found),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["ratios"], indent=1))


if __name__ == "__main__":
    main()
