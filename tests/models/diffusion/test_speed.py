"""Lossless speed keeps the arithmetic, lossy speed moves it and forgets each picture before the next."""

import numpy as np
import pytest

from promptforge.models.diffusion.drawing import Drawer
from promptforge.models.diffusion.loading import load
from promptforge.models.diffusion.settings import Settings
from promptforge.models.diffusion.speed import fuse
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
