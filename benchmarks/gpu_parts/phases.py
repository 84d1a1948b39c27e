"""What benchmarks/gpu.py measures, phase by phase; each gives a record of numbers with their units in the names."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpu_parts import models
from gpu_parts.clock import (
    Journal,
    Record,
    alternating,
    kernel_busy_share,
    median_ms,
    peak_gib,
    seconds,
    synchronize,
    utilisation,
)
from promptforge.models.diffusion import loading, memory, variants
from promptforge.models.diffusion.drawing import Drawer
from promptforge.models.diffusion.loading import Loaded
from promptforge.models.diffusion.response import Responder, ResponseSettings
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Picture, RenderJob

#: What dense bf16 products reach on an H100 or H200, and ViT-L/14's work for one picture.
REACHED_TFLOPS = 790.0
VIT_L_GFLOP = 162.0

PROMPTS = (
    "a red fox in the snow under a tall tree, oil painting of a winter day",
    "three blue cups beside a lamp on a wooden table",
    'a wooden sign that says "OPEN" on a brick wall',
    "an old lighthouse in the fog, a small boat in front of it",
)


@dataclass
class Bench:
    """What every phase shares. `bare` draws with diffusers alone, on the same weights."""

    tiny: bool
    device: str
    model: Path  #: the folder that stands for the model: its files are part of the teacher's fingerprint
    work: Path
    sizes: Sequence[int]
    batches: Sequence[int]
    steps: int
    n: int  #: turns of each comparison
    loaded: Any = None
    bare: Any = None

    def settings(self, **change: Any) -> Settings:
        """Those of FLUX.1-dev at the largest size, with changes."""
        found = Settings(
            model=str(self.model),
            dtype="fp32" if self.tiny else "bf16",
            size=max(self.sizes),
            steps=self.steps,
            max_sequence_length=32 if self.tiny else 512,
            memory="resident",
            licence="none",
        )
        return found.model_copy(update=change)

    def at(self, **change: Any) -> Loaded:
        """The loaded pipeline under other settings of size, steps and batch."""
        return replace(self.loaded, settings=self.settings(**change))


def step_tflop(size: int, length: int) -> float:
    """TFLOP of one step of FLUX.1's transformer for one picture: matrix products alone, 74.4 at 1024 px.

    57 blocks of 24 d^2 n for weights and 4 d n^2 for attention, d = 3072, n = text and picture tokens (16 px a side).
    """
    d, n = 3072, length + (size // 16) ** 2
    return 57 * (24 * d * d * n + 4 * d * n * n) / 1e12


def build(bench: Bench) -> Record:
    """Weights on the device, and two pipelines over them: ours, sped up, and the bare one."""
    torch = load_torch()
    start = time.perf_counter()
    pipe = models.tiny_flux_pipe(bench.model) if bench.tiny else models.full_flux(bench.device)
    synchronize(bench.device)
    made_s = time.perf_counter() - start
    bench.bare = models.twin(pipe)
    (bench.model / "model_index.json").touch()
    bench.loaded = loading.place(pipe, bench.settings(), "resident", bench.device)
    return {
        "transformer_weights": models.n_weights(bench.bare.transformer),
        "text_encoder_weights": models.n_weights(pipe.text_encoder) + models.n_weights(pipe.text_encoder_2),
        "vae_weights": models.n_weights(pipe.vae),
        "made_s": round(made_s, 2),
        "allocated_gib": round(torch.cuda.memory_allocated() / 2**30, 2) if bench.device != "cpu" else None,
        "ours": bench.loaded.provenance,
    }


def encoders(bench: Bench) -> Record:
    """Text encoders at batch 1 and full length, and what a prompt takes in all."""
    pipe, length = bench.bare, bench.settings().length

    def t5() -> Any:
        return pipe._get_t5_prompt_embeds(PROMPTS[0], max_sequence_length=length, device=bench.device)

    def clip() -> Any:
        return pipe._get_clip_prompt_embeds(PROMPTS[0], device=bench.device)

    with load_torch().no_grad():
        return {"length": length, "t5_ms": median_ms(t5, bench.device), "clip_ms": median_ms(clip, bench.device)}


def vae(bench: Bench) -> Record:
    """Decoding one latent."""
    torch = load_torch()
    found: Record = {}
    for size in bench.sizes:
        side = size // bench.bare.vae_scale_factor
        for name, each in (("bare", bench.bare.vae), ("ours", bench.loaded.pipe.vae)):
            shape = (1, each.config.latent_channels, side, side)
            latent = torch.randn(shape, device=bench.device, dtype=torch.float32).to(each.dtype)
            with torch.no_grad():
                found[f"{name}_{size}_px_ms"] = median_ms(
                    lambda vae=each, latent=latent: vae.decode(latent, return_dict=False), bench.device
                )
    return found


def drawing(bench: Bench, size: int, batch: int) -> Record:
    """Our drawing code against the bare call, in turns: seconds, memory, share of the arithmetic limit."""
    n_pictures = 2 * batch if batch == 1 else batch
    steps = bench.steps if batch == 1 else min(8, bench.steps)
    drawer = Drawer(bench.at(size=size, batch=batch, steps=steps))
    warm = Drawer(bench.at(size=size, batch=batch, steps=2))
    start = time.perf_counter()
    drawn = list(warm.draw(_jobs(batch)))
    synchronize(bench.device)
    first_s = time.perf_counter() - start
    _bare(bench, size, batch, batch, steps=2)
    runs = {
        "ours": lambda: list(drawer.draw(_jobs(n_pictures))),
        "bare": lambda: _bare(bench, size, batch, n_pictures, steps=steps),
    }
    took = alternating(runs, bench.device, bench.n if batch == 1 else 1)
    work = steps * step_tflop(size, int(bench.settings().length or 512))
    found: Record = {
        "size_px": size,
        "batch": batch,
        "steps": steps,
        "pictures_a_run": n_pictures,
        "first_call_s": round(first_s, 2),
        "errors": sorted({str(each.error) for each in drawn if each.error}),
        "tflop_a_picture": None if bench.tiny else round(work, 1),
    }
    for name, times in took.items():
        picture_s = sorted(times)[len(times) // 2] / n_pictures
        found[name] = {
            "s_a_picture": round(picture_s, 4),
            "pictures_a_s": round(1 / picture_s, 4),
            "ms_a_step": round(1000 * picture_s / steps, 2),  # of one picture, encoding and decoding spread over it
            "runs_s": [round(each, 3) for each in times],
            "share_of_790_tflops": None if bench.tiny else round(work / picture_s / REACHED_TFLOPS, 4),
            "peak_gib": peak_gib(bench.device, _short(bench, name, size, batch)),
        }
    found["ours_over_bare"] = round(found["ours"]["pictures_a_s"] / found["bare"]["pictures_a_s"], 4)
    return found


def busy(bench: Bench, size: int) -> Record:
    """How busy the GPU is while our code draws one picture after another at batch 1."""
    drawer, short = Drawer(bench.at(size=size)), Drawer(bench.at(size=size, steps=min(4, bench.steps)))
    list(short.draw(_jobs(1)))
    with utilisation(bench.device) as samples:
        seconds(lambda: list(drawer.draw(_jobs(3))), bench.device)
    inner = sorted(samples[1:-1])
    return {
        "size_px": size,
        "nvml_utilisation_mean": round(sum(inner) / len(inner) / 100, 4) if inner else None,
        "nvml_samples": len(inner),
        "kernel_busy_share": kernel_busy_share(lambda: list(short.draw(_jobs(2))), bench.device),
        "how": "NVML utilisation every 100 ms over three pictures; torch.profiler: union of kernels and copies over"
        f" two pictures of {min(4, bench.steps)} steps",
    }


def response(bench: Bench, size: int) -> Record:
    """The teacher's response: a pass of the transformer, a prompt with few variants, and what the defaults come to."""
    default = ResponseSettings()
    settings = default.model_copy(update={"shuffles": 1, "nonvisual": 2, "clauses": 2})
    start = time.perf_counter()
    responder = Responder(bench.at(size=size), settings)
    synchronize(bench.device)
    built_s = time.perf_counter() - start
    embeds = responder.embed(PROMPTS[0]).embeds
    pass_ms = median_ms(lambda: responder.velocity(embeds, responder.steps[0], 0), bench.device)
    prompt_s = seconds(lambda: responder.response(PROMPTS[0]), bench.device)
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    swap_s = seconds(lambda: responder.word_swap(PROMPTS[2], ["OPEN"], picture, [(8, 8, size, 32)]), bench.device)
    passes = len(responder.steps) * settings.noises
    return {
        "size_px": size,
        "build_s": round(built_s, 2),
        "pass_ms": pass_ms,
        "passes_a_text": passes,
        "prompt_of_6_texts_ms": round(1000 * prompt_s, 1),  # itself, 1 shuffle, 2 sentences, 2 clauses
        "default_prompt_ms_computed": round(passes * pass_ms * (1 + default.shuffles + default.clauses), 1),
        "default_start_ms_computed": round(passes * pass_ms * len(variants.nonvisual()), 1),
        "word_swap_ms": round(1000 * swap_s, 1),
    }


def scoring(bench: Bench) -> Record:
    """CLIP and the aesthetic head on uint8 pictures, as the scorer is called, and its parts alone."""
    torch = load_torch()
    from promptforge.models.clip_heads import AffineHead
    from promptforge.models.open_clip import BATCH, Tower, TowerSpec
    from promptforge.scorers.heads.scorer import HeadScorer

    if bench.tiny:
        spec = TowerSpec(str(models.tiny_clip_folder(bench.work / "clip")))
    else:
        spec = TowerSpec(str(models.clip_file(bench.work, bench.device)), None, models.CLIP_VISION, True)
    tower = Tower(spec, bench.device)
    scorer = HeadScorer(tower, AffineHead(np.full(tower.width, 0.01), 5.0), "render_aesthetic")
    size, n = max(bench.sizes), 4 if bench.tiny else 128
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    def score() -> Any:  # new arrays each time: the tower remembers those that it has seen
        return scorer.score_many([Picture(pixels.copy(), "", "image_quality", (), None) for _ in range(n)])

    score()
    picture_s = seconds(score, bench.device) / n
    batch = torch.stack([tower.prepare(pixels)] * (1 if bench.device == "cpu" else BATCH)).to(bench.device)
    with torch.inference_mode(), tower._narrowed():
        forward_ms = median_ms(lambda: tower.model.encode_image(batch), bench.device) / len(batch)
    return {
        "size_px": size,
        "pictures": n,
        "pictures_a_s": round(1 / picture_s, 2),
        "ms_a_picture": round(1000 * picture_s, 3),
        "forward_ms_a_picture": round(forward_ms, 4),
        "prepare_ms_a_picture_one_thread": median_ms(lambda: tower.prepare(pixels), "cpu"),
        "share_of_790_tflops": None
        if bench.tiny
        else round(VIT_L_GFLOP / 1000 / (forward_ms / 1000) / REACHED_TFLOPS, 4),
    }


def stage(bench: Bench, size: int, n: int) -> Record:
    """The stage render (plan, encode, commit) against our drawing loop and against the bare loop, at batch 1."""
    from promptforge.stages import pipeline, render
    from promptforge.stages.run import prepare
    from promptforge.teachers.diffusers import Diffusers

    texts = [f"a {colour} {noun}" for noun in ("cup", "house", "boat") for colour in ("red", "blue", "green", "white")]
    source = bench.work / "prompts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:n]), "utf-8")
    settings = bench.settings(size=size)
    regime = {"teacher": "diffusers", **settings.model_dump(mode="json", exclude_defaults=True)}
    raw = {
        "name": "bench",
        "sources": [{"kind": "files", "paths": [str(source)], "axis": "image_quality", "name": "bench"}],
        "regime": regime,
    }
    runs = []

    def prepared() -> Any:
        root = bench.work / f"run{len(runs)}"
        run = prepare(root, raw, "benchmark")
        for shard in range(pipeline.text_shards(root)):
            pipeline.make_text(root, shard)
        pipeline.make_dedup(root)
        pipeline.make_plan(root)
        _, todo = render.missing(run, pipeline._planned(run), 0, 1)
        runs.append(root)
        return run, Diffusers(run.parts.teacher.params, bench.at(size=size)), todo

    drawer = Drawer(bench.at(size=size))
    list(Drawer(bench.at(size=size, steps=2)).draw(_jobs(1)))
    took: dict[str, list[float]] = {"stage": [], "ours": [], "bare": []}
    for turn in range(bench.n):
        run, teacher, todo = prepared()
        calls: dict[str, Callable[[], Any]] = {
            "stage": lambda run=run, teacher=teacher, todo=todo: render.render_rank(run, teacher, todo, lambda _: None),
            "ours": lambda: list(drawer.draw(_jobs(n))),
            "bare": lambda: _bare(bench, size, 1, n),
        }
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            took[name].append(seconds(calls[name], bench.device))
    best = {name: min(times) for name, times in took.items()}
    return {
        "size_px": size,
        "steps": bench.steps,
        "pictures": n,
        "pictures_a_s": {name: round(n / each, 4) for name, each in best.items()},
        "runs_s": {name: [round(each, 3) for each in times] for name, times in took.items()},
        "stage_over_bare": round(best["bare"] / best["stage"], 4),
        "stage_over_ours": round(best["ours"] / best["stage"], 4),
    }


def memory_mode(bench: Bench, mode: memory.Memory) -> Record:
    """Peak memory and the cost of a picture with weights in host memory; two steps, nothing compiled."""
    torch = load_torch()
    bench.loaded = bench.bare = None
    if bench.device != "cpu":
        torch._dynamo.reset()
        gc.collect()
        torch.cuda.empty_cache()
    pipe = models.tiny_flux_pipe(bench.model) if bench.tiny else models.full_flux(bench.device).to("cpu")
    if bench.device != "cpu":
        torch.cuda.empty_cache()
    settings = bench.settings(memory=mode, compile=False, steps=2)
    loaded = loading.place(pipe, settings, mode, bench.device)
    drawer = Drawer(loaded)

    def draw() -> Any:
        return list(drawer.draw(_jobs(2)))

    errors = sorted({str(each.error) for each in draw() if each.error})
    expected = memory.peak_gib(memory.sizes_of(pipe, settings), mode)
    found = {"peak_gib": peak_gib(bench.device, draw), "planned_peak_gib": round(expected, 2), "errors": errors}
    found["s_for_two_pictures_of_two_steps"] = round(seconds(draw, bench.device), 3)
    return found


def _jobs(n: int) -> list[RenderJob]:
    return [RenderJob(PROMPTS[number % len(PROMPTS)], number) for number in range(n)]


def _bare(bench: Bench, size: int, batch: int, n: int, steps: int | None = None) -> None:
    """`n` pictures by the pipeline's own call."""
    torch = load_torch()
    for start in range(0, n, batch):
        jobs = _jobs(n)[start : start + batch]
        bench.bare(
            [job.text for job in jobs],
            height=size,
            width=size,
            num_inference_steps=steps or bench.steps,
            guidance_scale=bench.settings().guidance,
            max_sequence_length=bench.settings().length,
            generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
        )


def _short(bench: Bench, name: str, size: int, batch: int) -> Callable[[], Any]:
    if name == "bare":
        return lambda: _bare(bench, size, batch, batch, steps=2)
    drawer = Drawer(bench.at(size=size, batch=batch, steps=2))
    return lambda: list(drawer.draw(_jobs(2 * batch)))


def run_all(bench: Bench, journal: Journal) -> None:
    """Every phase, what matters most first."""
    largest, smallest = max(bench.sizes), min(bench.sizes)
    n_stage = 3 if bench.tiny else 8
    journal.phase("build", 5, lambda: build(bench))
    if bench.loaded is None:
        return
    journal.phase("text_encoders", 3, lambda: encoders(bench))
    journal.phase("vae", 3, lambda: vae(bench))
    journal.phase(f"drawing_{largest}_px_batch_1", 10, lambda: drawing(bench, largest, 1))
    journal.phase("busy", 10, lambda: busy(bench, largest))
    journal.phase("response", 10, lambda: response(bench, largest))
    journal.phase("scoring", 10, lambda: scoring(bench))
    if smallest != largest:
        journal.phase(f"drawing_{smallest}_px_batch_1", 20, lambda: drawing(bench, smallest, 1))
    journal.phase("render_stage", 10, lambda: stage(bench, smallest, n_stage))
    for batch in sorted(set(bench.batches) - {1}, reverse=True):
        for size in sorted(bench.sizes, reverse=True):
            needs = 3 if bench.tiny else 60
            journal.phase(f"drawing_{size}_px_batch_{batch}", needs, lambda s=size, b=batch: drawing(bench, s, b))
    for mode in memory.ORDER[1:]:
        journal.phase(f"memory_{mode}", 3 if bench.tiny else 45, lambda m=mode: memory_mode(bench, m))
