"""The teacher's response on tiny random FLUX and Stable Diffusion 3 pipelines, against their own calls."""

import math

import numpy as np
import pytest

from promptforge.errors import ConfigError
from promptforge.models.diffusion import variants
from promptforge.models.diffusion.response import Responder, ResponseSettings, boxes_of, build
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch
from promptforge.records import noise_seed

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]

TEACHER = {"dtype": "fp32", "size": 64, "steps": 4, "guidance": 3.5, "max_sequence_length": 48}
SETTINGS = ResponseSettings(timesteps=(0.0, 0.5), reference="a plain picture", shuffles=2, nonvisual=3, word_swap_px=64)
LONG = "a red fox under a tree, in deep snow, oil painting of a winter day"
SIGN = 'a wooden sign that says "OPEN" on a wall'


@pytest.fixture(scope="module", params=["flux", "sd3"])
def teacher(request, tmp_path_factory):
    """Settings of a tiny pipeline in a folder."""
    load_torch()
    from tests.tiny_models.pipelines import tiny_flux, tiny_sd3

    make = {"flux": tiny_flux, "sd3": tiny_sd3}[request.param]
    folder = make(tmp_path_factory.mktemp(request.param))
    return Settings(model=str(folder), pipeline=request.param, **TEACHER)


@pytest.fixture(scope="module")
def responder(teacher):
    return build(teacher, SETTINGS)


@pytest.fixture(scope="module")
def pipe(responder):
    return responder._pipe


@pytest.fixture(scope="module")
def reference(responder):
    """Embeddings of the reference prompt by the names of the pipeline's call, the empty negative prompt's too."""
    import torch

    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    n_encoders = 3
    if type(responder._pipe).__name__ == "FluxPipeline":
        names, n_encoders = names[::2], 2
    with torch.no_grad():  # with gradients other kernels run, some 1e-6 apart
        found = responder._pipe.encode_prompt(*["a plain picture"] * n_encoders, max_sequence_length=48)
    return dict(zip(names, found, strict=False))  # FLUX gives the ids of its tokens too


def own_call(pipe, generator_seed, **prompt):
    """What the transformer is given and answers at each step of the pipeline's own call, and the guided velocity."""
    import torch

    seen = []
    hook = pipe.transformer.register_forward_hook(
        lambda _module, _args, inputs, output: seen.append((inputs, output[0])), with_kwargs=True
    )
    try:
        pipe(
            **prompt,
            height=64,
            width=64,
            num_inference_steps=4,
            guidance_scale=3.5,
            max_sequence_length=48,
            generator=torch.Generator("cpu").manual_seed(generator_seed),
            output_type="latent",
        )
    finally:
        hook.remove()
    return seen


def unpacked(pipe, output):
    """Guidance and unpacking written out by hand: 64 px are 8 x 8 cells of the latent, FLUX packs 2 x 2 of them."""
    if output.shape[0] == 2:
        output = output[:1] + 3.5 * (output[1:] - output[:1])
    if type(pipe).__name__ == "StableDiffusion3Pipeline":
        return output[0]
    plain = output[0].reshape(4, 4, output.shape[-1] // 4, 2, 2)  # rows, columns, channels, 2, 2
    return plain.permute(2, 0, 3, 1, 4).reshape(output.shape[-1] // 4, 8, 8)


class TestVelocity:
    def test_it_is_the_pipelines_own_at_every_measured_step_of_the_reference(self, pipe, responder):
        import torch

        assert responder.steps == (0, 2)
        for noise in (0, 1):
            seen = own_call(pipe, noise_seed("response", noise, 0), prompt="a plain picture")
            for step in responder.steps:
                wanted = unpacked(pipe, seen[step][1])
                assert torch.equal(responder.velocity("a plain picture", step, noise), wanted)

    def test_inputs_of_another_prompt_are_those_of_a_call_with_its_embedding(self, pipe, responder, reference):
        import torch

        embeds = responder.embed("a red fox").embeds  # the pooled embeddings stay the reference's
        seen = own_call(pipe, noise_seed("response", 1, 0), **{**reference, "prompt_embeds": embeds})
        ours, (theirs, output) = responder.inputs("a red fox", 0, 1), seen[0]
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            same = torch.equal(ours[name], value) if torch.is_tensor(value) else ours[name] == value
            assert same, name
        assert torch.equal(responder.velocity("a red fox", 0, 1), unpacked(pipe, output))

    def test_only_the_embedding_differs_between_prompts(self, responder):
        import torch

        one, other = responder.inputs("a red fox", 2, 0), responder.inputs("three blue cups", 2, 0)
        differ = {
            name
            for name, value in one.items()
            if not (torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name])
        }
        assert differ == {"encoder_hidden_states"}
        assert one["encoder_hidden_states"].shape == other["encoder_hidden_states"].shape

    def test_a_zero_pooled_embedding_is_zero_for_every_prompt(self, teacher):
        zero = build(teacher.model_copy(update={"pooled": "zero"}), SETTINGS)
        assert not zero.inputs("a red fox", 0, 0)["pooled_projections"].any()

    def test_stored_embeddings_give_the_same_velocity(self, responder):
        import torch

        stored = responder.embed("a red fox").stored(with_pooled=True)["prompt_embeds"]
        assert stored.shape[0] >= 48  # the full length, padding too
        assert torch.equal(responder.velocity(stored, 2, 1), responder.velocity("a red fox", 2, 1))

    def test_embeddings_of_another_length_are_refused(self, responder):
        embeds = responder.embed("a red fox").embeds
        with pytest.raises(ConfigError, match="another max_sequence_length"):
            responder.velocity(embeds[:, :-1], 0, 0)

    def test_the_pipeline_is_left_as_it_was(self, pipe, responder):
        import torch

        before = own_call(pipe, 5, prompt="a red fox")[-1][1]
        Responder(responder._loaded, SETTINGS).response("three blue cups")
        seen = own_call(pipe, 5, prompt="a red fox")
        assert len(seen) == 4
        assert torch.equal(seen[-1][1], before)


class TestResponse:
    def test_a_prompt_against_itself_is_nought(self, responder):
        assert responder.distance("a red fox", "a red fox") == 0
        assert responder.response("a plain picture")[0].value == 0

    def test_it_is_the_mean_relative_distance_over_steps_and_noises(self, responder):
        parts = []
        for step in (0, 2):
            for noise in (0, 1):
                one = responder.velocity(LONG, step, noise).numpy().astype(np.float64)
                ref = responder.velocity("a plain picture", step, noise).numpy().astype(np.float64)
                parts.append(math.sqrt(((one - ref) ** 2).sum()) / math.sqrt((ref**2).sum()))
        assert responder.response(LONG)[0].value == pytest.approx(sum(parts) / 4, rel=1e-12)

    def test_noises_are_shared_by_all_prompts_and_by_a_new_responder(self, responder):
        again = Responder(responder._loaded, SETTINGS)
        assert again.response(LONG) == responder.response(LONG)
        other = Responder(responder._loaded, SETTINGS.model_copy(update={"seed": 1}))
        assert other.response(LONG)[0].value != responder.response(LONG)[0].value

    def test_swapping_the_two_noises_changes_nothing(self, responder):
        """The mean over paired noises is symmetric: each velocity is compared with that of its own noise."""
        crossed = [
            responder._distance(responder.velocity(LONG, 0, a), responder.velocity("a plain picture", 0, b))
            for a, b in ((0, 1), (1, 0))
        ]
        paired = [
            responder._distance(responder.velocity(LONG, 0, n), responder.velocity("a plain picture", 0, n))
            for n in (1, 0)
        ]
        assert sum(paired) < sum(crossed)  # the same noise on both sides: the prompt alone moves the velocity
        by_step = responder.response(LONG)[0].detail
        assert f"{round(sum(paired) / 2, 6)}" in by_step

    def test_all_metrics_come_in_their_order(self, responder):
        from promptforge.models.diffusion.response import METRICS

        scores = responder.response(LONG)
        assert [score.metric for score in scores] == list(METRICS)
        for score in scores[1:3]:
            assert 0 <= score.value <= 100

    def test_a_prompt_of_one_word_has_no_shuffles_and_no_clauses(self, responder):
        _, shuffled, nonvisual, clause = responder.response("fox")
        assert shuffled.value is None
        assert nonvisual.value is not None
        assert (clause.value, clause.detail) == (None, None)

    def test_a_clause_is_exchanged_for_as_many_tokens(self, responder):
        spans = variants.clauses(LONG, 9)
        assert [LONG[slice(*span)] for span in spans] == [
            "a red fox under a tree",
            "in deep snow",
            "oil painting of a winter day",
        ]
        for span in spans:
            made = variants.neutralised(LONG, span, responder.n_tokens)
            assert made is not None
            assert responder.n_tokens(made) == responder.n_tokens(LONG)
            assert LONG[slice(*span)] not in made


class TestWordSwap:
    def test_it_is_measured_inside_the_boxes(self, responder):
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (score,) = responder.word_swap(SIGN, ["OPEN"], pixels, [(8, 8, 40, 24)])
        assert score.value > 0
        (whole,) = responder.word_swap(SIGN, ["OPEN"], pixels, [(0, 0, 64, 64)])
        assert '"outside":null' in whole.detail

    def test_its_latent_is_the_picture_noised_to_the_step(self, pipe, responder):
        """x_t = sigma noise + (1 - sigma) x0: at the first step sigma is 1, and the picture does not matter."""
        import torch

        black, white = (responder.encoded(np.full((64, 64, 3), level, np.uint8)) for level in (0, 255))
        start = responder.inputs("", 0, 1)["hidden_states"][-1:]
        assert torch.equal(responder.noised(black, 0, 1), start)
        sigma = float(pipe.scheduler.sigmas[2])
        there = responder.noised(white, 2, 1) - responder.noised(black, 2, 1)
        torch.testing.assert_close(there, (1 - sigma) * (white - black))

    def test_encoding_undoes_the_pipelines_decoding(self, pipe, responder):
        import torch

        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        with torch.no_grad():
            scaled = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
            mean = pipe.vae.encode(scaled).latent_dist.mean
        back = responder._unpacked(responder.encoded(pixels)) / pipe.vae.config.scaling_factor
        torch.testing.assert_close(back + pipe.vae.config.shift_factor, mean[0])

    def test_a_box_takes_every_cell_that_it_touches(self, responder):
        """Cells of 8 px: x from 15 to 17 touches columns 1 and 2, y from 0 to 8 row 0."""
        mask = responder.region(boxes_of([[(15, 0), (17, 0), (17, 8), (15, 8)]]))
        assert mask.nonzero().tolist() == [[0, 1], [0, 2]]

    def test_without_a_region_or_a_word_there_is_no_value(self, responder):
        pixels = np.zeros((64, 64, 3), np.uint8)
        assert responder.word_swap(SIGN, ["OPEN"], pixels, [])[0].detail == "no_region"
        assert responder.word_swap(SIGN, ["NOWHERE"], pixels, [(0, 0, 8, 8)])[0].detail == "no_word_fits"

    def test_a_picture_of_another_size_is_refused(self, responder):
        with pytest.raises(ConfigError, match="the teacher's regime is 64 px"):
            responder.word_swap(SIGN, ["OPEN"], np.zeros((32, 32, 3), np.uint8), [(0, 0, 8, 8)])


def test_a_pipeline_of_another_kind_is_refused_before_it_is_loaded(tmp_path):
    teacher = Settings(model=str(tmp_path), pipeline="auto")
    with pytest.raises(ConfigError, match="as pipeline 'auto'; it knows flux and sd3"):
        build(teacher, SETTINGS)
