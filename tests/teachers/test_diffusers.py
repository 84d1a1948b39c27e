"""The diffusers teacher on tiny pipelines with random weights, against the pipelines' own calls."""

import hashlib
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from promptforge.models.diffusion.tensors import torch_tensor
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import RenderJob
from promptforge.teachers import diffusers as teachers

pytestmark = [
    pytest.mark.models,
    pytest.mark.usefixtures("one_thread"),
    # diffusers reads every pipeline to choose one, and one of them still uses TorchScript
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]

KINDS = ("flux", "sd3", "auto")
SETUP = {"dtype": "fp32", "size": 64, "steps": 3, "licence": "mine"}
JOBS = tuple(
    RenderJob(text, seed)
    for seed, text in enumerate(
        ["a red cat", "a blue dog beside a tree", 'a sign that says "OPEN"', "seven green birds over the sea"]
    )
)
TEXT = "a red cat under a small tree"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, one_thread):
    from tests.tiny_models.pipelines import tiny_flux, tiny_sd, tiny_sd3

    root = tmp_path_factory.mktemp("pipelines")
    return {"flux": tiny_flux(root / "flux"), "sd3": tiny_sd3(root / "sd3"), "auto": tiny_sd(root / "sd")}


def params(folders, kind, **more):
    length = {} if kind == "auto" else {"max_sequence_length": 24}
    return teachers.Params(model=str(folders[kind]), pipeline=kind, **{**SETUP, **length, **more})


def drawn(teacher, jobs=JOBS):
    found = list(teacher.render_all(jobs))
    assert [each.error for each in found] == [None] * len(found)
    return [each.pixels for each in found]


def own_pipeline(folders, kind):
    """The pipeline as diffusers loads it, weights at multiples of 64 bytes: elsewhere kernels give other last bits."""
    import diffusers

    names = {"flux": "FluxPipeline", "sd3": "StableDiffusion3Pipeline", "auto": "AutoPipelineForText2Image"}
    pipe = getattr(diffusers, names[kind]).from_pretrained(folders[kind], use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        for tensor in part.parameters() if hasattr(part, "parameters") else ():
            tensor.data = tensor.data.clone()
    return pipe


@pytest.fixture(scope="module")
def teacher_of(folders):
    """One teacher of each kind, which tests use but leave as it was."""
    built = {}

    def find(kind):
        if kind not in built:
            built[kind] = teachers.build(params(folders, kind, store_embeddings=kind != "auto"))
        return built[kind]

    return find


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pictures(teacher_of, kind):
    return drawn(teacher_of(kind))


def test_a_picture_is_square_rgb_of_the_size_asked_for(pictures):
    assert {(each.shape, each.dtype) for each in pictures} == {((64, 64, 3), np.dtype("uint8"))}
    assert len({each.tobytes() for each in pictures}) == len(JOBS)


def test_a_picture_is_the_pipelines_own_to_the_bit(folders, pictures, kind):
    pipe = own_pipeline(folders, kind)
    torch = load_torch()
    length = {} if kind == "auto" else {"max_sequence_length": 24}
    for job, picture in zip(JOBS, pictures, strict=True):
        generator = torch.Generator("cpu").manual_seed(job.seed)
        own = pipe(
            job.text, height=64, width=64, num_inference_steps=3, guidance_scale=3.5, generator=generator, **length
        )
        assert np.array_equal(np.asarray(own.images[0]), picture)


def test_pictures_depend_on_text_and_seed_not_on_order_or_company(teacher_of, pictures, kind):
    teacher = teacher_of(kind)
    assert all(map(np.array_equal, drawn(teacher, JOBS[::-1]), pictures[::-1]))
    resumed = drawn(teacher, JOBS[2:])
    assert all(map(np.array_equal, resumed, pictures[2:]))
    one, two = teacher.render_all(JOBS), teacher.render_all(JOBS[::-1])
    interleaved = [next(stream).pixels for _ in JOBS for stream in (one, two)]
    assert all(map(np.array_equal, interleaved[::2], pictures))
    assert all(map(np.array_equal, interleaved[1::2], pictures[::-1]))


def test_a_fresh_process_draws_the_same_bytes(folders, teacher_of):
    code = (
        "import hashlib, sys; from promptforge.models.torch_setup import load_torch; load_torch().set_num_threads(1);"
        "from promptforge.teachers import diffusers as t; from promptforge.protocols import RenderJob;"
        "teacher = t.build(t.Params.model_validate_json(sys.argv[1]), 3);"
        "found = next(teacher.render_all([RenderJob('a blue dog beside a tree', 1)]));"
        "print(hashlib.sha256(found.pixels.tobytes()).hexdigest())"
    )
    given = params(folders, "flux", store_embeddings=True).model_dump_json()
    run = subprocess.run([sys.executable, "-c", code, given], capture_output=True, text=True, check=True, timeout=90)
    picture = drawn(teacher_of("flux"), JOBS[1:2])[0]
    assert run.stdout.split() == [hashlib.sha256(picture.tobytes()).hexdigest()]


def test_the_seed_decides_the_noise_and_the_text_the_rest(teacher_of, kind):
    same, other = drawn(teacher_of(kind), [RenderJob("a red cat", 5), RenderJob("a red cat", 6)])
    assert not np.array_equal(same, other)


def test_four_at_once_differ_by_a_level_at_most(folders, pictures, kind):
    together = drawn(teachers.build(params(folders, kind, batch=4)))
    assert max(np.abs(one.astype(int) - other).max() for one, other in zip(together, pictures, strict=True)) <= 1


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_guidance_is_the_pipelines_own_with_the_negative_prompt(folders, guidance):
    torch = load_torch()
    pipe = own_pipeline(folders, "sd3")
    asked = {"height": 64, "width": 64, "num_inference_steps": 3, "max_sequence_length": 24}
    generator = torch.Generator("cpu").manual_seed(9)
    own = pipe(TEXT, negative_prompt="a dark photo", guidance_scale=guidance, generator=generator, **asked).images[0]
    teacher = teachers.build(params(folders, "sd3", guidance=guidance, negative_prompt="a dark photo"))
    assert np.array_equal(np.asarray(own), drawn(teacher, [RenderJob(TEXT, 9)])[0])


def test_flux_step_by_step_gives_the_stored_latent(folders):
    """The Euler steps and the shift of the FLUX paper's schedule, in our own arithmetic, with the same transformer."""
    torch = load_torch()
    teacher = teachers.build(params(folders, "flux", store_latents=True))
    found = next(teacher.render_all([RenderJob(TEXT, 7)]))
    pipe = teacher.loaded.pipe
    embeds, pooled, text_ids = pipe.encode_prompt(TEXT, None, max_sequence_length=24)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(7))
    latents = pipe._pack_latents(noise, *noise.shape)
    ids = pipe._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32)
    mu = 0.5 + (4 * 4 - 256) * (1.15 - 0.5) / (4096 - 256)
    sigmas = [math.exp(mu) / (math.exp(mu) + (1 / sigma - 1)) for sigma in (1.0, 2 / 3, 1 / 3)] + [0.0]
    for sigma, following in itertools.pairwise(sigmas):
        with torch.no_grad():
            velocity = pipe.transformer(
                hidden_states=latents,
                timestep=torch.tensor([sigma]),
                guidance=torch.tensor([3.5]),
                pooled_projections=pooled,
                encoder_hidden_states=embeds,
                txt_ids=text_ids,
                img_ids=ids,
                return_dict=False,
            )[0]
        latents = latents + (following - sigma) * velocity
    expected = pipe._unpack_latents(latents, 64, 64, 8)[0]
    assert found.latent.shape == (4, 8, 8)
    # float32 against our float64 sigmas: seven digits
    assert torch.allclose(torch_tensor(found.latent), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["flux", "sd3"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_stored_latent_decodes_to_the_picture(folders, kind, dtype):
    torch = load_torch()
    from diffusers.image_processor import VaeImageProcessor

    teacher = teachers.build(params(folders, kind, store_latents=True, dtype=dtype))
    found = next(teacher.render_all([RenderJob(TEXT, 7)]))
    assert found.latent.dtype == {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    vae = teacher.loaded.pipe.vae
    latent = torch_tensor(found.latent)[None]
    with torch.no_grad():
        image = vae.decode(latent / vae.config.scaling_factor + vae.config.shift_factor).sample
    assert np.array_equal(np.asarray(VaeImageProcessor().postprocess(image)[0]), found.pixels)


def velocity(pipe, embeds, pooled):
    torch = load_torch()
    noise = torch.randn((1, 16, 16), generator=torch.Generator("cpu").manual_seed(1)).to(embeds.dtype)
    with torch.no_grad():
        return pipe.transformer(
            hidden_states=noise,
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([3.5]),
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3),
            img_ids=pipe._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32),
            return_dict=False,
        )[0]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_stored_embeddings_give_the_live_velocity_and_cut_ones_do_not(folders, dtype):
    torch = load_torch()
    teacher = teachers.build(params(folders, "flux", store_embeddings=True, dtype=dtype))
    found = next(teacher.render_all([RenderJob(TEXT, 7)]))
    pipe = teacher.loaded.pipe
    with torch.no_grad():  # with gradients T5 takes other kernels, and other last bits
        live, live_pooled, _ = pipe.encode_prompt(TEXT, None, max_sequence_length=24)
    stored = {name: torch_tensor(raw)[None] for name, raw in found.embeddings.items()}
    assert found.embeddings["prompt_embeds"].shape == (24, 32)
    assert torch.equal(stored["prompt_embeds"], live)
    assert torch.equal(stored["pooled_prompt_embeds"], live_pooled)
    expected = velocity(pipe, live, live_pooled)
    assert torch.equal(velocity(pipe, stored["prompt_embeds"], stored["pooled_prompt_embeds"]), expected)
    n_tokens = len(pipe.tokenizer_2(TEXT).input_ids)
    cut = velocity(pipe, live[:, :n_tokens], live_pooled)
    assert not torch.allclose(cut.float(), expected.float(), rtol=1e-2)


def test_embeddings_come_with_the_first_take_alone(teacher_of):
    first, second = teacher_of("sd3").render_all([RenderJob(TEXT, 1, take=0), RenderJob(TEXT, 2, take=1)])
    assert {name: raw.shape for name, raw in first.embeddings.items()} == {
        "prompt_embeds": (77 + 24, 64),
        "pooled_prompt_embeds": (64,),
    }
    assert second.embeddings == {}


def test_a_zero_pooled_embedding_is_what_the_transformer_sees(folders):
    torch = load_torch()
    teacher = teachers.build(params(folders, "flux", pooled="zero", store_embeddings=True))
    seen = []
    teacher.loaded.pipe.transformer.register_forward_pre_hook(
        lambda _module, _args, inputs: seen.append(inputs["pooled_projections"]), with_kwargs=True
    )
    found = next(teacher.render_all([RenderJob(TEXT, 1)]))
    assert [torch.count_nonzero(each).item() for each in seen] == [0, 0, 0]
    assert set(found.embeddings) == {"prompt_embeds"}


def test_a_safety_checkers_blank_is_an_error_that_names_it(tmp_path):
    from tests.tiny_models.pipelines import tiny_sd

    folder = tiny_sd(tmp_path / "sd", refuses=True)
    teacher = teachers.build(teachers.Params(model=str(folder), pipeline="auto", **SETUP))
    (found,) = teacher.render_all(JOBS[:1])
    assert found.pixels is None
    assert found.error.startswith("safety_checker:")


def test_the_fingerprint_follows_the_weights_and_not_the_folders_name(folders, tmp_path):
    from tests.tiny_models.pipelines import tiny_flux

    again, other = tiny_flux(tmp_path / "again"), tiny_flux(tmp_path / "other", seed=1)
    described = [teachers.describe(params({"flux": folder}, "flux")) for folder in (folders["flux"], again, other)]
    assert described[0] == described[1] != described[2]


def test_the_provenance_says_what_else_may_move_bits(teacher_of):
    torch = load_torch()
    found = teacher_of("flux").provenance
    assert found["torch"] == torch.__version__
    assert {"device", "transformers", "attention", "memory", "compile"} <= set(found)
