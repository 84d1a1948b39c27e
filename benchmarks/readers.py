"""The reader beside other loaders on the same pictures: processor time and pictures/s, decoded and not.

    python benchmarks/readers.py --peers /tmp/peers   # makes an environment there for the loaders that cannot live here
    python benchmarks/readers.py [--pictures 512] [--rounds 3] [--only streams access queries]

Pictures are 512 px, lossless WebP of some 300 kB (smooth colours with grain, as a photograph has). Each loader reads
them in the form that it likes: published Parquet (ours, Hugging Face `datasets`), tars (WebDataset), MDS (MosaicML
streaming), litdata's chunks; id, text and picture of each. A loader runs in a process of its own, in turns with the
others, `rounds` times: one pass to warm up, then a measured pass in the process itself and one with a torch DataLoader
of two workers. Decoded pictures arrive as uint8 batches of 16; encoded ones as lists of bytes. Processor time counts
the workers, and their start and end. Medians, and the ratios of medians, go to results/readers.json.

`access` is one random picture against its row group; `queries` is a million published rows in index.parquet against
the same rows as DuckDB itself writes them.

Everything is read from the page cache: this measures the work of loaders, not a disk or a network.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from reader_parts.access import access, queries
from reader_parts.forms import build, build_litdata, build_mds, rows_of, torch_for_streaming

RESULTS = Path(__file__).resolve().parent / "results" / "readers.json"
REPOSITORY = Path(__file__).resolve().parent.parent
BATCH = 16
#: filelock: a later one refuses a lock that a forked worker inherited, which MosaicML's does.
PEERS = (
    "torch==2.13.0",
    "filelock<3.20",
    "litdata==0.2.76",
    "mosaicml-streaming==0.13.0",
    "webdataset==1.0.2",
    "datasets==5.0.1",
)
#: Name -> whether it runs here; the rest run in the environment of --peers.
ENGINES = {
    "promptforge": True,
    "promptforge, Pillow": True,
    "hf_streaming": True,
    "hf_map": True,
    "webdataset": True,
    "mds": False,
    "litdata": False,
}


# --- the loaders: each gives rows with prompt_id, text, image ---


def pillow(encoded: bytes) -> Any:
    """Pixels as the other loaders decode them."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def ours(folder: Path, decode: bool, name: str) -> Any:
    """The reader of this repository."""
    from promptforge.reader import Stream, decoding

    if name.endswith("Pillow"):
        decoding._opencv = lambda: None
    return Stream(
        folder / "dataset",
        columns=("prompt_id", "text", "image"),
        decode=decode,
        batch_size=BATCH,
    )


class Taken:
    """A row of another loader with its picture as pixels or bytes; a class, so that workers can be sent it."""

    def __init__(self, decode: bool) -> None:
        self.decode = decode

    def __call__(self, row: Any) -> dict[str, Any]:
        """The row under the names that all share."""
        image = row["webp"] if "webp" in row else row["image"]
        if isinstance(image, dict):
            image = image["bytes"]
        if self.decode:
            image = pillow(image) if isinstance(image, bytes) else np.asarray(image.convert("RGB"))
        return {
            "prompt_id": row["__key__"] if "__key__" in row else row["prompt_id"],
            "text": row["txt"].decode() if "txt" in row else row["text"],
            "image": image,
        }


def hugging_face(folder: Path, decode: bool, name: str) -> Any:
    """Both ways of Hugging Face datasets."""
    import datasets

    files = sorted(str(path) for path in (folder / "dataset/data").glob("*.parquet"))
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=name == "hf_streaming", cache_dir=str(folder / "cache")
    )
    return data.cast_column("image", datasets.Image(decode=decode))


def webdataset(folder: Path, decode: bool, name: str) -> Any:
    """Tars, dealt out to workers."""
    import webdataset as wds

    urls = [str(path) for path in sorted((folder / "tars").glob("*.tar"))]
    return wds.WebDataset(urls, shardshuffle=False, nodesplitter=wds.split_by_node, workersplitter=wds.split_by_worker)


def mds(folder: Path, decode: bool, name: str) -> Any:
    """MosaicML streaming, from a local folder."""
    torch_for_streaming()
    import streaming

    streaming.base.util.clean_stale_shared_memory()
    return streaming.StreamingDataset(local=str(folder / "mds"), shuffle=False, batch_size=BATCH)


def litdata(folder: Path, decode: bool, name: str) -> Any:
    """Litdata, from a local folder."""
    import litdata as ld

    return ld.StreamingDataset(str(folder / "litdata"), shuffle=False)


OPEN: dict[str, Callable[[Path, bool, str], Any]] = {
    "promptforge": ours,
    "promptforge, Pillow": ours,
    "hf_streaming": hugging_face,
    "hf_map": hugging_face,
    "webdataset": webdataset,
    "mds": mds,
    "litdata": litdata,
}


class Collate:
    """A batch as a trainer wants it: pixels as one tensor, bytes as a list."""

    def __init__(self, take: Callable[[Any], Any] | None, decode: bool) -> None:
        self.take, self.decode = take, decode

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """These rows as one batch."""
        import torch

        rows = [self.take(row) for row in rows] if self.take else rows
        batch: dict[str, Any] = {name: [row[name] for row in rows] for name in ("prompt_id", "text", "image")}
        if self.decode:
            batch["image"] = torch.from_numpy(np.stack(batch["image"]))
        return batch


def batches(data: Iterable[Any], collate: Collate) -> Iterator[dict[str, Any]]:
    """What a DataLoader does, in this process."""
    held = []
    for row in data:
        held.append(row)
        if len(held) == BATCH:
            yield collate(held)
            held = []
    if held:
        yield collate(held)


def processor_s() -> float:
    """Of this process and of the children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def measured(one_pass: Callable[[], Iterable[dict[str, Any]]], pictures: int) -> dict[str, float]:
    """One pass: processor ms a picture, pictures/s; every picture must have come."""
    begun, clock, seen = processor_s(), time.perf_counter(), set()
    for batch in one_pass():
        seen.update(batch["prompt_id"])
        assert len(batch["image"][0]) > 500
    wall = time.perf_counter() - clock
    del batch
    assert len(seen) == pictures, (len(seen), pictures)
    return {"cpu_ms": 1e3 * (processor_s() - begun) / pictures, "per_s": pictures / wall}


def run_engine(name: str, folder: Path, pictures: int) -> dict[str, Any]:
    """Every figure of one loader, in this process."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    foreign = OPEN[name] is not ours
    found: dict[str, Any] = {}
    for decode in (False, True):
        data = OPEN[name](folder, decode, name)
        collate = Collate(Taken(decode) if foreign else None, decode)

        def alone(data: Any = data, collate: Collate = collate) -> Iterator[Any]:
            return batches(data, collate)

        def workers(decode: bool = decode, collate: Collate = collate) -> Iterator[Any]:
            # Opened anew: MosaicML's locks and threads do not survive a fork after a pass in this process.
            yield from DataLoader(OPEN[name](folder, decode, name), batch_size=BATCH, num_workers=2, collate_fn=collate)

        measured(alone, pictures)
        kind = "decoded" if decode else "encoded"
        found[f"{kind}, in process"] = measured(alone, pictures)
        found[f"{kind}, two workers"] = measured(workers, pictures)
    if name.startswith("promptforge"):
        from promptforge.reader import decoding

        encoded = [row["image"] for row in rows_of(folder)]

        def bare(part: list[bytes]) -> None:
            for each in part:
                decoding.decode(each)

        # By as many threads as the loader's too: those of one core cost each other some time.
        for threads in (1, len(os.sched_getaffinity(0))):
            with ThreadPoolExecutor(threads) as pool:
                begun = time.process_time()
                list(pool.map(bare, [encoded[n::threads] for n in range(threads)]))
            case = "bare decoding" if threads == 1 else "bare decoding, threads"
            found[case] = {"cpu_ms": 1e3 * (time.process_time() - begun) / pictures}
    return found


# --- all of it ---


def make_peers(folder: Path) -> None:
    """An environment with the loaders that cannot live in this one."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    pip = [str(folder / "env/bin/python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *PEERS], check=True)


def streams(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Medians of every loader, by case."""
    peers = Path(options.peers) / "env/bin/python" if options.peers else None
    runs: dict[str, list[Any]] = {}
    names = [name for name, here in ENGINES.items() if name in options.engines and (here or peers)]
    for form in ("mds", "litdata"):
        if peers and not (folder / form).exists():
            subprocess.run([peers, __file__, "--build", form, "--folder", str(folder)], check=True)
    for turn in range(options.rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            python = sys.executable if ENGINES[name] or not peers else str(peers)
            call = [python, __file__, "--engine", name, "--folder", str(folder), "--pictures", str(options.pictures)]
            try:
                said = subprocess.run(
                    call, stdout=subprocess.PIPE, text=True, check=True, timeout=options.limit_s
                ).stdout
            except subprocess.SubprocessError as exc:
                print(turn, name, "gave nothing:", type(exc).__name__, flush=True)
                continue
            runs.setdefault(name, []).append(json.loads(said.splitlines()[-1]))
            print(turn, name, json.dumps(runs[name][-1]), flush=True)
    return {
        name: {
            case: {unit: round(statistics.median(one[case][unit] for one in each), 4) for unit in each[0][case]}
            for case in each[0]
        }
        for name, each in runs.items()
    }


def goals(found: dict[str, Any]) -> dict[str, Any]:
    """The ratios that are asked for; over 1 is better for us but where it says otherwise."""

    def cpu(name: str, case: str) -> float:
        return float(found[name][case]["cpu_ms"])

    raw, two = "encoded, in process", "decoded, two workers"
    rivals = [name for name in ("hf_streaming", "hf_map", "webdataset", "mds", "litdata") if name in found]
    fastest = max(rivals, key=lambda name: found[name][two]["per_s"])
    ours_best = max(found["promptforge"][case]["per_s"] for case in ("decoded, in process", two))
    said = {
        "encoded, cpu: hf_streaming / ours": cpu("hf_streaming", raw) / cpu("promptforge", raw),
        "encoded, cpu: webdataset / ours": cpu("webdataset", raw) / cpu("promptforge", raw),
        "decoded, pictures/s: ours / best two-worker loader": ours_best / found[fastest][two]["per_s"],
        "decoded, cpu: best two-worker loader / ours": cpu(fastest, two) / cpu("promptforge", "decoded, in process"),
        "loader overhead over bare decoding": cpu("promptforge", "decoded, in process")
        / cpu("promptforge", "bare decoding")
        - 1,
    }
    if "bare decoding, threads" in found["promptforge"]:
        bare = cpu("promptforge", "bare decoding, threads")
        said["loader overhead over bare decoding by as many threads"] = (
            cpu("promptforge", "decoded, in process") / bare - 1
        )
    if "litdata" in found:
        said["encoded, cpu: ours / litdata"] = cpu("promptforge", raw) / cpu("litdata", raw)
    return {"best two-worker loader": fastest} | {name: round(value, 3) for name, value in said.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="folder for the environment of MosaicML streaming and litdata")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "promptforge-readers"))
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=int, default=100, help="seconds for one loader; one that hangs is left out")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--only", nargs="+", default=["streams", "access", "queries"])
    parser.add_argument("--engine", help="one loader, in this process")
    parser.add_argument("--build", choices=["mds", "litdata"], help="one form, in this process")
    options = parser.parse_args()
    folder = Path(options.folder)
    if options.engine:
        print(json.dumps(run_engine(options.engine, folder, options.pictures)))
        return
    if options.build:
        {"mds": build_mds, "litdata": build_litdata}[options.build](folder)
        return
    if options.peers and not (Path(options.peers) / "env").exists():
        make_peers(Path(options.peers))
    build(folder, options.pictures)
    record = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    record["machine"] = {
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    if "streams" in options.only:
        record["pictures"] = options.pictures
        record["rounds"] = options.rounds
        load = os.getloadavg()[0]
        record["streams"] = streams(folder, options)
        record["load"] = f"load average {load:.0f} before, {os.getloadavg()[0]:.0f} after"
        record["goals"] = goals(record["streams"])
    if "access" in options.only:
        record["access"] = access(folder)
    if "queries" in options.only:
        record["queries"] = queries(folder)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: record[name] for name in ("goals", "access", "queries") if name in record}, indent=1))


if __name__ == "__main__":
    main()
