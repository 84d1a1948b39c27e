"""Where drawing goes wrong: no finite latent, an overflowing decoder, no memory; and what stands where meanwhile."""

import numpy as np
import pytest

from promptforge.models.diffusion import loading
from promptforge.models.diffusion.drawing import Drawer
from promptforge.models.diffusion.loading import Loaded, load
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Rendering, RenderJob

pytestmark = [
    pytest.mark.models,
    pytest.mark.usefixtures("one_thread"),
    # diffusers reads every pipeline to choose one, and one of them still uses TorchScript
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]

JOBS = tuple(RenderJob(text, seed) for seed, text in enumerate(["a red cat", "a blue dog", "a tree", "the sea"]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, one_thread):
    from tests.tiny_models.pipelines import tiny_flux, tiny_sd

    root = tmp_path_factory.mktemp("pipelines")
    return {"flux": tiny_flux(root / "flux"), "auto": tiny_sd(root / "sd")}


def loaded_with(folders, kind="flux", **more):
    length = {"max_sequence_length": 16} if kind == "flux" else {}
    asked = {"dtype": "fp32", "size": 64, "steps": 2, **length, **more}
    return load(Settings(model=str(folders[kind]), pipeline=kind, **asked))


def pixels_of(found):
    assert [each.error for each in found] == [None] * len(found)
    return [each.pixels for each in found]


@pytest.fixture(scope="module")
def pictures(folders):
    return pixels_of(list(Drawer(loaded_with(folders)).draw(JOBS)))


@pytest.mark.parametrize(("kind", "code"), [("flux", "latent_not_finite"), ("auto", "picture_not_finite")])
def test_weights_of_nan_give_error_rows_and_the_next_picture_is_tried(folders, kind, code):
    loaded = loaded_with(folders, kind)
    net = loaded.pipe.transformer if kind == "flux" else loaded.pipe.unet
    (net.proj_out if kind == "flux" else net.conv_out).weight.data.fill_(float("nan"))
    found = list(Drawer(loaded).draw(JOBS[:2]))
    assert [(each.pixels, each.error.partition(":")[0]) for each in found] == [(None, code)] * 2


@pytest.mark.parametrize("kind", ["flux", "auto"])
def test_a_decoder_that_overflows_in_fp16_is_used_in_fp32_and_the_picture_says_so(folders, kind):
    loaded = loaded_with(folders, kind, dtype="fp16")
    decoder = loaded.pipe.vae.decoder
    for part in (decoder.conv_in.weight, decoder.conv_in.bias):
        part.data.mul_(20_000)  # beyond 65,504, the largest fp16; the norms behind it take the factor out again
    (found,) = Drawer(loaded).draw(JOBS[:1])
    assert found.error is None
    assert found.notes == {"vae_dtype": "fp32"}


@pytest.mark.parametrize("kind", ["flux", "auto"])
@pytest.mark.parametrize(("bias", "code"), [(-10.0, "black"), (0.0, "flat")])
def test_black_and_flat_pictures_are_errors(folders, kind, bias, code):
    loaded = loaded_with(folders, kind)
    last = loaded.pipe.vae.decoder.conv_out
    last.weight.data.zero_()
    last.bias.data.fill_(bias)
    (found,) = Drawer(loaded).draw(JOBS[:1])
    assert (found.pixels, found.error.partition(":")[0]) == (None, code)


def lacks_memory_above(loaded, n):
    """The denoiser runs out of memory where it is given more than n pictures."""
    torch = load_torch()
    sizes = []

    def check(_module, _args, inputs):
        sizes.append(len(inputs["hidden_states"]))
        if sizes[-1] > n:
            raise torch.OutOfMemoryError("CUDA out of memory")

    loaded.pipe.transformer.register_forward_pre_hook(check, with_kwargs=True)
    return sizes


def test_out_of_memory_at_batch_one_is_an_error_row_with_the_remedy(folders):
    loaded = loaded_with(folders)
    lacks_memory_above(loaded, 0)
    found = list(Drawer(loaded).draw(JOBS[:2]))
    assert [each.pixels for each in found] == [None, None]
    for part in ("out_of_memory", "64 px", "memory = 'encoders_to_cpu'", "a size under 64"):
        assert part in found[0].error


def test_out_of_memory_in_a_batch_halves_it_and_the_pictures_say_so(folders, pictures):
    loaded = loaded_with(folders, batch=4)
    sizes = lacks_memory_above(loaded, 2)
    found = list(Drawer(loaded).draw(JOBS))
    assert [each.notes for each in found] == [{"batch": 2}] * 4
    assert sizes == [4, 2, 2, 2, 2]  # the refused one, then two steps of two pictures, twice
    differences = [np.abs(a.astype(int) - b).max() for a, b in zip(pixels_of(found), pictures, strict=True)]
    assert max(differences) <= 1


def test_text_encoders_leave_before_the_transformer_runs_and_nothing_is_loaded_anew(folders, pictures, monkeypatch):
    loaded = loaded_with(folders, memory="encoders_to_cpu")
    encoder = loaded.pipe.text_encoder_2
    host = encoder.shared.weight.data_ptr()
    seen = {"encoding": [], "denoising": []}
    encoder.register_forward_pre_hook(lambda *_: seen["encoding"].append(encoder.shared.weight.data_ptr() != host))
    loaded.pipe.transformer.register_forward_pre_hook(
        lambda *_: seen["denoising"].append(encoder.shared.weight.data_ptr() != host)
    )
    monkeypatch.setattr(loading, "pipeline_on_cpu", None)  # loading again would fail
    assert all(map(np.array_equal, pixels_of(list(Drawer(loaded).draw(JOBS))), pictures))
    assert seen == {"encoding": [True] * 4, "denoising": [False] * 8}


@pytest.mark.parametrize("mode", ["model_offload", "blocks_to_cpu"])
def test_the_smaller_modes_draw_the_same_bytes(folders, pictures, mode):
    loaded = loaded_with(folders, memory=mode)
    assert loaded.provenance["memory"] == mode
    assert all(map(np.array_equal, pixels_of(list(Drawer(loaded).draw(JOBS))), pictures))


def test_what_lacked_memory_half_way_leaves_nothing_to_the_next_picture(folders):
    """The cache across steps is forgotten at a call's end; a call that broke off has none."""
    torch = load_torch()
    loaded = loaded_with(folders, first_block_cache=1.0, steps=4)
    jobs = [
        RenderJob("a red cat", 5),
        RenderJob("a blue dog", 5),
    ]  # one noise: the cache takes them for one
    wanted = pixels_of(list(Drawer(loaded).draw(jobs[1:])))
    seen = []

    def check(*_):
        seen.append(1)
        if len(seen) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    loaded.pipe.transformer.register_forward_pre_hook(check)
    broken, whole = Drawer(loaded).draw(jobs)
    assert broken.error.startswith("out_of_memory")
    assert np.array_equal(whole.pixels, wanted[0])


def test_encoders_that_do_not_fit_leave_the_denoiser_where_it_was(folders, pictures):
    torch = load_torch()
    loaded = loaded_with(folders, memory="model_offload")
    enter = loaded.encoders.enter

    def lacking():
        loaded.encoders.enter = enter
        raise torch.OutOfMemoryError("CUDA out of memory")

    loaded.encoders.enter = lacking
    with pytest.raises(torch.OutOfMemoryError), loaded.encoding():
        pass
    assert (loaded.encoders.is_here, loaded.denoiser.is_here) == (False, True)
    assert all(map(np.array_equal, pixels_of(list(Drawer(loaded).draw(JOBS))), pictures))


class Recorder:
    """Draws numbers instead of pictures and notes the order of the calls.

    It refuses the launches of `lacking` and the landings of `heavy` once.
    """

    def __init__(self, lacking=(), heavy=()):
        self.calls = []
        self.lacking, self.heavy = set(lacking), set(heavy)

    def prepare(self, jobs):
        return [None] * len(jobs)

    def launch(self, jobs, texts):
        assert len(jobs) == len(texts) == 1
        seed = jobs[0].seed
        if seed in self.lacking:
            self.lacking.remove(seed)
            raise load_torch().OutOfMemoryError("CUDA out of memory")
        self.calls.append(("launch", seed))
        return seed

    def land(self, flight):
        if flight in self.heavy:
            self.heavy.remove(flight)
            raise load_torch().OutOfMemoryError("CUDA out of memory")
        self.calls.append(("land", flight))
        return [Rendering(np.full((1, 1, 3), flight, np.uint8))]


def on_a_gpu():
    settings = Settings(model="black-forest-labs/FLUX.1-schnell", revision="0" * 40)
    return Loaded(None, "cuda:0", settings, "resident", None, None, {})


def test_on_a_gpu_the_next_picture_is_launched_before_one_is_waited_for():
    artist = Recorder()
    found = [each.pixels[0, 0, 0] for each in Drawer(on_a_gpu(), artist).draw(JOBS[:3])]
    assert found == [0, 1, 2]
    assert artist.calls == [("launch", 0), ("launch", 1), ("land", 0), ("launch", 2), ("land", 1), ("land", 2)]


def test_a_launch_that_lacks_memory_is_tried_again_once_what_is_in_flight_has_landed():
    artist = Recorder(lacking={1})
    found = list(Drawer(on_a_gpu(), artist).draw(JOBS[:2]))
    assert [each.pixels[0, 0, 0] for each in found] == [0, 1]
    assert artist.calls == [("launch", 0), ("land", 0), ("launch", 1), ("land", 1)]


def test_a_second_decoding_that_lacks_memory_is_tried_again_once_the_cache_is_empty():
    artist = Recorder(heavy={0})
    found = list(Drawer(on_a_gpu(), artist).draw(JOBS[:2]))
    assert [each.pixels[0, 0, 0] for each in found] == [0, 1]
