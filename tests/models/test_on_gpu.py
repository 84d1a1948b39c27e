"""What only a GPU can show: pictures and embeddings beside each other, in every memory mode, compiled and not.

Every test here is skipped where there is no GPU.
"""

import numpy as np
import pytest

from promptforge.models.diffusion.loading import load
from promptforge.models.diffusion.settings import Settings
from promptforge.models.diffusion.tensors import torch_tensor
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import RenderJob
from promptforge.teachers.diffusers import Diffusers

pytestmark = pytest.mark.models

TEXTS = ("a red cat", "a blue dog beside a tree", 'a sign that says "OPEN"', "seven green birds", "the sea at night")
JOBS = tuple(RenderJob(text, seed) for seed, text in enumerate(TEXTS))


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if not load_torch().cuda.is_available():
        pytest.skip("no GPU here: streams, pinned memory and compiled kernels cannot be run")


@pytest.fixture(scope="module")
def folder(gpu, tmp_path_factory):
    from tests.tiny_models.pipelines import tiny_flux

    return tiny_flux(tmp_path_factory.mktemp("pipelines") / "flux")


def teacher(folder, **more):
    asked = {"dtype": "bf16", "size": 256, "steps": 4, "max_sequence_length": 64, "memory": "resident", **more}
    params = Settings(model=str(folder), licence="mine", **{"compile": False, **asked})
    return Diffusers(params, load(params))


def drawn(painter, jobs=JOBS):
    found = list(painter.render_all(jobs))
    assert [each.error for each in found] == [None] * len(found)
    return [each.pixels for each in found]


@pytest.fixture(scope="module")
def pictures(folder):
    return drawn(teacher(folder))


def same(some, others):
    return all(map(np.array_equal, some, others))


def test_a_picture_is_the_same_alone_and_beside_the_next_one(folder, pictures):
    painter = teacher(folder)
    assert same([drawn(painter, [job])[0] for job in JOBS], pictures)
    assert same(drawn(painter, JOBS[::-1]), pictures[::-1])


def test_a_compiled_picture_is_the_same_whatever_was_drawn_before(folder):
    painter = teacher(folder, compile=True)
    first = drawn(painter)
    assert painter.provenance["compile"] == "blocks"
    drawn(teacher(folder, compile=True, size=320), JOBS[:1])  # another size must not make shapes dynamic
    assert same(drawn(painter, JOBS[::-1]), first[::-1])
    assert same(drawn(teacher(folder, compile=True)), first)


def test_captured_graphs_draw_the_same_pictures_each_time(folder):
    painter = teacher(folder, cuda_graphs=True, compile=True)
    first = drawn(painter)
    assert painter.provenance["compile"] == "cuda_graphs"
    assert same(drawn(painter), first)


@pytest.mark.parametrize("mode", ["encoders_to_cpu", "model_offload", "blocks_to_cpu"])
def test_weights_in_host_memory_draw_the_pictures_of_those_on_the_device(folder, mode):
    resident = drawn(teacher(folder, dtype="fp32"))
    painter = teacher(folder, dtype="fp32", memory=mode)
    first = drawn(painter)
    # blocks_to_cpu alone keeps its projections apart, which sum in another order
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(first, resident, strict=True)) <= 1
    assert same(drawn(painter, JOBS[::-1]), first[::-1])


def test_latents_and_embeddings_are_those_of_their_own_picture(folder, pictures):
    from diffusers.image_processor import VaeImageProcessor

    torch = load_torch()
    painter = teacher(folder, store_latents=True, store_embeddings=True)
    pipe, device = painter.loaded.pipe, painter.loaded.device
    for job, found, picture in zip(JOBS, painter.render_all(JOBS), pictures, strict=True):
        assert np.array_equal(found.pixels, picture)
        latent = torch_tensor(found.latent)[None].to(device)
        with torch.no_grad():
            image = pipe.vae.decode(latent / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor).sample
            embeds = pipe.encode_prompt(job.text, None, device=device, max_sequence_length=64)[0]
        assert np.array_equal(np.asarray(VaeImageProcessor().postprocess(image)[0]), picture)
        assert torch.equal(torch_tensor(found.embeddings["prompt_embeds"]), embeds[0].cpu())


def test_what_lacked_memory_is_an_error_and_the_pictures_around_it_stay(folder, pictures):
    torch = load_torch()
    painter = teacher(folder)

    def lacking(_module, _args, inputs):
        if bool((inputs["encoder_hidden_states"] == second).all()):
            torch.empty(1 << 50, dtype=torch.uint8, device=painter.loaded.device)

    pipe, device = painter.loaded.pipe, painter.loaded.device
    with torch.no_grad():
        second = pipe.encode_prompt(JOBS[1].text, None, device=device, max_sequence_length=64)[0]
    pipe.transformer.register_forward_pre_hook(lacking, with_kwargs=True)
    found = list(painter.render_all(JOBS))
    assert [each.error is None for each in found] == [True, False, True, True, True]
    assert found[1].error.startswith("out_of_memory")
    assert same([each.pixels for each in found if each.error is None], [pictures[0], *pictures[2:]])


def test_clip_gives_a_picture_one_embedding_whatever_its_place(gpu, tmp_path):
    from promptforge.models.clip_weights import TowerSpec
    from promptforge.models.open_clip import Tower
    from promptforge.models.torch_setup import device_of
    from tests.tiny_models.clip import tiny_clip

    spec = TowerSpec(str(tiny_clip(tmp_path / "clip")))
    tower, exact = Tower(spec, device_of(0)), Tower(spec, "cpu")
    rng = np.random.default_rng(3)
    pixels = [rng.integers(0, 256, (300, 300, 3), dtype=np.uint8) for _ in range(37)]  # two batches and a part
    together = tower.pictures(pixels)
    for each, other in zip(pixels, together, strict=True):
        np.testing.assert_allclose(tower.pictures([each.copy()])[0], other, atol=1e-2)
    for each, other in zip(exact.pictures(pixels), together, strict=True):
        np.testing.assert_allclose(each, other, atol=1e-2)
