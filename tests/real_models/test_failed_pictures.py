"""Memory that ends and decoders that overflow: rows with a reason, notes on what was needed, and the run goes on."""

import io
import json
import re

import duckdb
import numpy as np
import pytest
from PIL import Image

from promptforge.stages import pipeline
from promptforge.stages.verify import verify

from .runs import dataset, drive, flux

pytestmark = pytest.mark.models

PROMPTS = ["a red cup", "a blue boat on a lake", "a dog", "two lamps", "a horse in the snow", "an old door"]
DENIED = {1, 4}  # places, in the order of drawing
OVERFLOWS = {0, 3}


def recipe(models, folder, **teacher):
    path = folder / "six.txt"
    path.write_text("".join(f"{text}\n" for text in PROMPTS), "utf-8")
    return {
        "name": "six",
        "sources": [{"kind": "files", "paths": [str(path)], "axis": "image_quality"}],
        "filters": {"length": {}},
        "regime": flux(models, **teacher),
        "scorers": {"technical": {}, "alignment": {"tower": models.clip}},
        "select": {"gates": {"not_flat": {"scorer": "technical", "metric": "flat", "max": 0}}},
        "run": {"increment": 2},
    }


def opened(root):
    con = duckdb.connect()
    con.execute((root / "tables.sql").read_text("utf-8"))
    return con


@pytest.fixture
def teachers(monkeypatch):
    """Every teacher that a run builds, each changed by the test as soon as it is loaded."""
    built, changes = [], []
    real = pipeline.build_teacher

    def build(part, rank=0):
        teacher = real(part, rank)
        for change in changes:
            change(teacher.loaded.pipe)
        built.append(teacher)
        return teacher

    monkeypatch.setattr(pipeline, "build_teacher", build)
    return built, changes


def short_of_memory(pipe, denied=DENIED):
    """The transformer's first step has no room for these pictures."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    seen = []

    def deny(_module, _args, inputs):
        noise = inputs["hidden_states"].clone()
        is_first_step = float(inputs["timestep"].max()) == 1.0
        if is_first_step:
            seen.append(noise)
            if len(seen) - 1 in denied:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    pipe.transformer.register_forward_pre_hook(deny, with_kwargs=True)


def test_pictures_that_memory_does_not_hold_are_rows_with_the_remedy_and_the_run_goes_on(tmp_path, models, teachers):
    built, changes = teachers
    changes.append(short_of_memory)
    root, raw = tmp_path / "run", recipe(models, tmp_path, store_latents=True)
    tallies = drive(root, raw)
    assert tallies["render"].rows == 6
    con = opened(root)
    errors = dict(con.execute("SELECT prompt_id, error FROM images WHERE error IS NOT NULL").fetchall())
    assert len(errors) == len(DENIED)
    for error in errors.values():
        assert re.match(
            r"out_of_memory: the denoiser at 64 px, batch 1, memory 'resident'; set memory = '\w+' or", error
        )
    assert con.execute("SELECT count(*) FROM pixels").fetchone() == (4,)
    assert con.execute("SELECT count(*) FROM latents").fetchone() == (4,)
    # The prompts stay: a student that follows its teacher needs no picture. The pictures do not.
    rows = con.execute("SELECT prompt_id, state, keep_image, image_reason FROM selection").fetchall()
    assert {(state, keep) for prompt, state, keep, _ in rows if prompt in errors} == {("accepted", False)}
    assert {reason for prompt, _, _, reason in rows if prompt in errors} == {"render_error"}
    assert {(state, keep) for prompt, state, keep, _ in rows if prompt not in errors} == {("accepted", True)}
    assert con.execute("SELECT count(DISTINCT image_id) FROM scores_in_force").fetchone() == (4,)
    assert verify(root) == []
    before = dataset(root)
    assert {stage for stage, tally in drive(root, raw).items() if tally.done} == set()
    assert dataset(root) == before
    assert len(built) == 1  # nothing to draw, so nothing was loaded
    # The remedy: another memory mode, in the same folder. The four others are not drawn again.
    changes.clear()
    raw["regime"]["memory"] = "encoders_to_cpu"
    assert drive(root, raw)["render"].rows == 2
    con = opened(root)
    assert con.execute("SELECT count(*), count(DISTINCT image_id), count(error) FROM images").fetchone() == (6, 6, 0)
    assert con.execute("SELECT count(*) FROM selection WHERE keep_image").fetchone() == (6,)
    assert verify(root) == []
    assert {stage for stage, tally in drive(root, raw).items() if tally.done} == set()


def test_where_no_picture_fits_another_memory_mode_draws_all_in_the_same_folder(tmp_path, models, teachers):
    _, changes = teachers
    changes.append(lambda pipe: short_of_memory(pipe, range(6)))
    root, raw = tmp_path / "run", recipe(models, tmp_path)
    drive(root, raw)
    assert opened(root).execute("SELECT count(*), count(error) FROM images").fetchone() == (6, 6)
    raw["regime"]["memory"] = "model_offload"
    drive(root, raw)  # no room there either
    assert opened(root).execute("SELECT count(*), count(error) FROM images").fetchone() == (6, 6)
    changes.clear()
    raw["regime"]["memory"] = "encoders_to_cpu"
    drive(root, raw)
    assert verify(root) == []
    plain = tmp_path / "plain"
    drive(plain, raw)
    assert dataset(root) == dataset(plain)


def overflows(pipe):
    """In 16 bits the VAE's decoder gives NaN for these pictures."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    calls = []

    def overflow(_module, _args, output):
        if output.dtype == torch.bfloat16:
            calls.append(output)
            if len(calls) - 1 in OVERFLOWS:
                return torch.full_like(output, float("nan"))
        return output

    pipe.vae.decoder.register_forward_hook(overflow)


def test_a_picture_that_overflows_in_16_bits_is_decoded_in_32_and_says_so(tmp_path, models, teachers):
    _, changes = teachers
    changes.append(overflows)
    root = tmp_path / "run"
    drive(root, recipe(models, tmp_path, dtype="bf16", store_latents=True))
    con = opened(root)
    rows = con.execute(
        "SELECT provenance, encoded, l.dtype, shape, data FROM images JOIN pixels USING (image_id)"
        " JOIN latents l USING (image_id) WHERE error IS NULL"
    ).fetchall()
    assert len(rows) == 6
    noted = [row for row in rows if "notes" in json.loads(row[0])]
    assert len(noted) == len(OVERFLOWS)
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(f"{models.flux}/vae", torch_dtype=torch.bfloat16).float()
    for provenance, encoded, dtype, shape, data in noted:
        assert json.loads(provenance)["notes"] == {"vae_dtype": "fp32"}
        assert dtype == "bfloat16"
        latent = torch.frombuffer(bytearray(data), dtype=torch.bfloat16).reshape(1, *shape).float()
        with torch.no_grad():
            image = vae.decode(latent / vae.config.scaling_factor + vae.config.shift_factor).sample[0]
        wanted = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        seen = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        assert np.abs(seen.astype(int) - wanted.astype(int)).max() <= 1  # mapped weights lie otherwise in memory
    assert con.execute("SELECT count(*) FROM selection WHERE keep_image").fetchone() == (6,)
    assert verify(root) == []
