"""Every real-model part in one run: tiny FLUX, CLIP, OWLv2 with random weights, RapidOCR, a language model's server.

Run folders here are made from `recipe_of`, by `drive` in this process or by `command` through Prefect.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from promptforge import catalog
from promptforge.lock import Lock
from promptforge.recipe import override
from promptforge.stages import pipeline
from promptforge.stages.run import Tally, prepare
from promptforge.store import Store

OWN = [
    {"text": "a quiet lake at dawn", "axis": "image_quality"},
    {"text": "an old lighthouse in the fog", "axis": "image_quality"},
    {"text": "A quiet LAKE, at dawn!", "axis": "image_quality"},  # the first again: an exact duplicate
    {"text": "write an essay about thrift", "axis": "image_quality"},  # the judge finds nothing to be seen
    {"text": "a battle with gore", "axis": "image_quality"},  # the judge finds violence
    {"text": "three blue cups beside a lamp", "axis": "semantic_understanding"},
    {"text": "a zorgle on a green table", "axis": "semantic_understanding"},  # a word that the lexicon does not know
    {"text": "", "axis": "semantic_understanding"},  # unreadable
    {"text": 'a wooden sign that says "OPEN"', "axis": "text_rendering"},
    {"text": "a sign with nothing in quotes", "axis": "text_rendering"},  # no text is asked for: dropped
]
PARENTS = ["a red fox in the snow", "two brown dogs and one black cat"]
LICENCE = "tiny-terms-1.0"
INCREMENT = 4
IN_FLIGHT = 4  # requests to the language model


@dataclass(frozen=True)
class Models:
    """Folders of tiny models, and files that recipes read."""

    base: Path

    def __getattr__(self, name: str) -> str:
        known = {"head": "head.safetensors", "own": "own.jsonl", "parents": "parents.txt"}
        return str(self.base / known.get(name, name))

    def make(self) -> None:
        from promptforge.models.torch_setup import load_torch

        load_torch()
        import numpy as np
        from safetensors.numpy import save_file

        from tests.tiny_models.clip import tiny_clip
        from tests.tiny_models.detectors import tiny_owlv2
        from tests.tiny_models.pipelines import tiny_flux, tiny_sd, tiny_sd3

        for name, build in {"flux": tiny_flux, "sd3": tiny_sd3, "sd": tiny_sd, "clip": tiny_clip}.items():
            build(self.base / name)
        tiny_owlv2(self.base / "owl")
        tiny_clip(self.base / "other_clip", seed=1)
        rng, widths = np.random.default_rng(0), (768, 1024, 128, 64, 16, 1)
        head = {}
        for place, below, above in zip((0, 2, 4, 6, 7), widths, widths[1:], strict=False):
            head[f"layers.{place}.weight"] = (rng.standard_normal((above, below)) / below**0.5).astype(np.float32)
            head[f"layers.{place}.bias"] = rng.standard_normal(above).astype(np.float32)
        save_file(head, self.head)
        Path(self.own).write_text("".join(json.dumps(row) + "\n" for row in OWN), "utf-8")
        Path(self.parents).write_text("".join(f"{text}\n" for text in PARENTS), "utf-8")


class Writer:
    """The language model's server, a process of its own; its address changes when it is started again."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        program = Path(__file__).with_name("tiny_writer.py")
        self.process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base_url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _call(self, path: str, body: bytes | None = None) -> dict:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + path, body, timeout=10) as reply:
            return json.load(reply)

    def asked(self) -> dict[str, int]:
        """Task -> requests that came since the process started."""
        return self._call("/stats")["asked"]

    def pictures(self) -> dict[str, int]:
        """SHA-256 of the RGB bytes of each picture that was shown -> how often."""
        return self._call("/stats")["pictures"]

    def die_after(self, n_requests: int) -> None:
        self._call("/control", json.dumps({"die_after": n_requests}).encode())


def llm(writer: Writer, **more) -> dict:
    """A language model's entry; few in flight, so that little is lost with a process."""
    return {
        "writer": {
            "kind": "server",
            "base_url": writer.base_url,
            "model": "tiny",
            "concurrency": IN_FLIGHT,
            "max_retries": 1,
            "backoff_s": 0.05,
            "connect_timeout_s": 5,
            **more,
        }
    }


def flux(models: Models, **more) -> dict:
    return {
        "teacher": "diffusers",
        "model": models.flux,
        "pipeline": "flux",
        "dtype": "fp32",
        "size": 64,
        "steps": 2,
        "max_sequence_length": 32,
        "licence": LICENCE,
        **more,
    }


def recipe_of(models: Models, writer: Writer) -> dict:
    """Everything at once: 10 rows of one's own, 6 of the grammar, 6 invented, 2 rewritten; two takes."""
    return {
        "name": "everything",
        "seed": 3,
        "sources": [
            {"kind": "files", "name": "own", "paths": [models.own], "licence": "CC0-1.0"},
            {"kind": "grammar", "axis": "semantic_understanding", "n": 3},
            {"kind": "grammar", "axis": "text_rendering", "n": 3},
            {
                "kind": "llm",
                "llm": "writer",
                "axis": "semantic_understanding",
                "categories": ["color", "spatial"],
                "lengths": [[4, 16]],
                "styles": ["none"],
                "n": 6,
                "per_request": 2,
            },
            {"kind": "llm", "llm": "writer", "task": "rewrite", "parents": [models.parents]},
        ],
        "filters": {"characters": {}, "length": {}, "expected_text": {}, "split": {}, "judge": {"llm": "writer"}},
        "llm": llm(writer, price_in=1.0, price_out=10.0),
        "regime": flux(models, store_latents=True, store_embeddings=True, restricted=True, accept_license=LICENCE),
        "render": {"takes": 2},
        "questions": {"llm": "writer"},
        "response": {"sample": 0.5, "timesteps": [0.0, 0.5], "noises": 1, "shuffles": 2, "nonvisual": 2, "clauses": 1},
        "scorers": {
            "technical": {},
            "aesthetic": {"tower": models.clip, "head": models.head},
            "alignment": {"tower": models.clip},
            "second": {"kind": "alignment", "role": "evaluate", "tower": models.other_clip},
            "likeness": {"embedding": True, "tower": models.clip},
            "detector": {"model": models.owl, "min_confidence": 0.05},
            "questions": {"llm": "writer"},
            "text": {},
        },
        "select": {"gates": {"not_flat": {"scorer": "technical", "metric": "flat", "max": 0}}},
        "run": {"increment": INCREMENT, "bucket_images": 8},
    }


def small(models, writer) -> dict:
    """Every stage that asks, draws or measures with a model; one take, no OCR."""
    raw = recipe_of(models, writer)
    del raw["scorers"]["text"]
    return override(raw, ["render.takes=1", "response.sample=1.0"])


def facts(root: Path) -> dict[str, list]:
    """Every row of the facts of a folder, sorted; which increment a row came in is no part of it."""
    store = Store(root)
    tables = {
        "images": "image_id, sha256, seed, error",
        "scores": "image_id, scorer, digest, metric, value, detail",
        "prompt_scores": "prompt_id, scorer, digest, metric, value, detail",
        "latents": "image_id, data",
        "embeddings": "prompt_id, name, data",
        "responses": "request_id, payload, answer, error, n_tries",
        "questions": "prompt_id, place, key, text, origin",
    }
    commits = [
        commit for stage in ("render", "score", "respond", "ask", "questions") for commit in store.commits(stage)
    ]
    with catalog.connect(store, commits) as con:
        return {name: con.sql(f"SELECT {what} FROM {name} ORDER BY ALL").fetchall() for name, what in tables.items()}


def drive(root: Path, raw: dict, world: int = 1) -> dict[str, Tally]:
    """Run every stage in order, in this process, and add up what each did."""
    prepare(root, raw, "test")
    with Lock(root) as lock:
        Store(root).sweep()
        tallies = pipeline.make_all(root, lock.epoch, world)
    total: dict[str, Tally] = {}
    for tally in tallies:
        total[tally.stage] = total.get(tally.stage, Tally(tally.stage)) + tally
    return total


@dataclass(frozen=True)
class Reference:
    """A finished run that every worker may look at, and how often each task was asked for it."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "run"

    @property
    def asked(self) -> dict[str, int]:
        return json.loads((self.base / "asked.json").read_text())

    def make(self, models: Models) -> None:
        writer = Writer()
        try:
            drive(self.root, small(models, writer))
            (self.base / "asked.json").write_text(json.dumps(writer.asked()))
        finally:
            writer.close()

    def n_calls(self, stage: str) -> int:
        """Durable calls of a stage: four for each file and each record."""
        return 4 * sum(len(commit.files) + 1 for commit in Store(self.root).commits(stage))


def command(root: Path, raw: dict, *, timeout: float = 240) -> "subprocess.CompletedProcess[str]":
    """promptforge run, through Prefect, in a process of its own."""
    root.parent.mkdir(parents=True, exist_ok=True)
    given = root.parent / f"{root.name}_run.json"
    given.write_text(json.dumps(raw))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "promptforge.cli", "run", str(given), "--out", str(root)],
        cwd=root.parent,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def dataset(root: Path) -> dict[str, str]:
    """SHA-256 of every file of the data set."""
    folder = root / "dataset"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
