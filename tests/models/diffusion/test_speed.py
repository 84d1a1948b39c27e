"""Lossless speed keeps the arithmetic, lossy speed moves it and forgets each picture before the next."""

from types import SimpleNamespace

import numpy as np
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.models.diffusion.drawing import Drawer
from promptforge.models.diffusion.loading import load
from promptforge.models.diffusion.settings import Settings
from promptforge.models.diffusion.speed import after_placing, compiling, fuse
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import RenderJob

pytestmark = pytest.mark.models

JOBS = tuple(RenderJob(text, seed) for seed, text in enumerate(["a red cat", "a blue dog", "a tree"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch = load_torch()
    from tests.tiny_models.pipelines import tiny_flux

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny_flux(tmp_path_factory.mktemp("pipelines") / "flux")
    torch.set_num_threads(before)


def loaded_with(folder, **more):
    asked = {"dtype": "fp32", "size": 64, "steps": 6, "max_sequence_length": 16, **more}
    return load(Settings(model=str(folder), **asked))


def drawn(loaded, jobs=JOBS):
    found = list(Drawer(loaded).draw(jobs))
    assert [each.error for each in found] == [None] * len(found)
    return [each.pixels for each in found]


def difference(some, others):
    return max(np.abs(one.astype(int) - other).max() for one, other in zip(some, others, strict=True))


def test_fused_projections_give_the_same_picture_and_are_held_once(folder):
    loaded = loaded_with(folder)
    before = drawn(loaded)
    net = loaded.pipe.transformer
    n_parameters = sum(each.numel() for each in net.parameters())
    fuse(net)
    assert sum(each.numel() for each in net.parameters()) == n_parameters
    assert any(name.endswith("to_qkv.weight") for name, _ in net.named_parameters())
    assert difference(drawn(loaded), before) <= 1


def test_nothing_is_compiled_or_fused_on_a_cpu(folder):
    loaded = loaded_with(folder)
    assert loaded.provenance["compile"] == "off"
    assert not any(name.endswith("to_qkv.weight") for name, _ in loaded.pipe.transformer.named_parameters())


def test_a_cache_across_steps_changes_pictures_but_never_one_by_another(folder):
    cached = loaded_with(folder, first_block_cache=1.0)
    found = drawn(cached)
    assert difference(found, drawn(loaded_with(folder))) > 1
    assert all(map(np.array_equal, drawn(cached, JOBS[::-1]), found[::-1]))


def test_eight_bit_weights_are_held_in_eight_bits_and_draw_another_picture(folder):
    torch = load_torch()
    eight = loaded_with(folder, fp8_weights=True, dtype="bf16")
    held = {each.dtype for each in eight.pipe.transformer.parameters()}
    assert torch.float8_e4m3fn in held
    assert difference(drawn(eight), drawn(loaded_with(folder, dtype="bf16"))) > 1


@pytest.fixture
def compiler():
    """torch's tracer with nothing compiled before or after."""
    load_torch()
    from torch import _dynamo

    _dynamo.reset()
    _dynamo.utils.counters.clear()
    yield _dynamo
    _dynamo.reset()


def traced(settings):
    """The keywords of the real compilation, for a backend that runs the traced graph as it is."""
    return {name: value for name, value in compiling(settings).items() if name != "options"} | {"backend": "eager"}


def test_blocks_are_traced_whole_and_a_process_draws_any_number_of_sizes(folder, compiler):
    """Two sizes of the single blocks are four graphs; torch by itself would stop at the limit of two that is set."""
    with compiler.config.patch(recompile_limit=2):
        for number, size in enumerate((64, 80), 1):
            loaded = loaded_with(folder, size=size, steps=2)
            before = drawn(loaded, JOBS[:1])
            fuse(loaded.pipe.transformer)
            loaded.pipe.transformer.compile_repeated_blocks(**traced(loaded.settings))
            assert difference(drawn(loaded, JOBS[:1]), before) <= 1
            # one for the double blocks; two for the single ones, of which the first is given other strides
            assert compiler.utils.counters["stats"]["unique_graphs"] == 3 * number


def test_a_denoiser_that_cannot_be_compiled_says_how_to_do_without(folder, compiler):
    def fails(*_):
        raise RuntimeError("no C compiler")

    loaded = loaded_with(folder)
    loaded.pipe.transformer.compile_repeated_blocks(fullgraph=True, backend=fails)
    with pytest.raises(EnvironmentFault, match=r"no C compiler.*set regime.compile=false"):
        drawn(loaded)


def test_the_compiler_knows_every_option_that_it_is_given(folder):
    import torch._inductor

    known = torch._inductor.list_options()
    options = compiling(loaded_with(folder).settings)["options"]
    assert options
    assert set(options) <= set(known)
    assert "triton.cudagraphs" in known


def test_the_decoder_of_a_video_model_keeps_its_layout(folder):
    torch = load_torch()
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    flat, deep = torch.nn.Conv2d(2, 2, 3), torch.nn.Conv3d(2, 2, 3)
    settings = loaded_with(folder).settings.model_copy(update={"compile": False})
    for vae in (flat, deep):
        after_placing(SimpleNamespace(transformer=None, unet=flat, vae=vae), settings, "resident", "cuda:0")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert deep.weight.is_contiguous()
