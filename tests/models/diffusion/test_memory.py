"""Which memory mode is taken, and that parked weights come and go as copies of one host tensor."""

import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion.memory import (
    Parked,
    Shapes,
    Sizes,
    activations_gib,
    choose,
    denoiser_of,
    peak_gib,
    pin_exactly,
)
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch

FLUX = Settings(model="black-forest-labs/FLUX.1-dev", revision="0" * 40)
#: bf16: 11.90e9, 4.76e9 + 0.123e9 and 0.084e9 parameters x 2 bytes / 2**30
WEIGHTS = {"denoiser": 22.17, "encoders": 9.10, "vae": 0.16, "n_blocks": 57}
SHAPES = Shapes(width=3072, tokens=64 * 64 + 512, vae_channels=256, itemsize=2)
#: free on cards of 24, 40, 80 and 141 GB, in GiB
FREE = {24: 23.5, 40: 39.0, 80: 78.8, 141: 139.0}


def sizes(settings=FLUX, shapes=SHAPES):
    return Sizes(activations=activations_gib(shapes, settings), **WEIGHTS)


def test_live_tensors_of_flux_at_1024_px_are_three_gib():
    # 16 x 4608 x 3072 x 2 bytes = 0.422 GiB; 5 x 1024 x 1024 x 256 x 2 bytes = 2.5 GiB
    assert activations_gib(SHAPES, FLUX) == pytest.approx(2.922, abs=0.001)


@pytest.mark.parametrize(
    ("mode", "gib"),
    [
        ("resident", 41.2),  # 1.2 x (22.17 + 9.10 + 0.16 + 2.92)
        ("encoders_to_cpu", 37.7),  # 1.2 x (22.17 + 0.16 + 9.10), the encoders being larger than the activations
        ("model_offload", 30.3),  # 1.2 x (22.17 + 0.16 + 2.92)
        ("blocks_to_cpu", 11.1),  # 1.2 x (0.16 + 9.10), the encoders being larger than two of 57 blocks
    ],
)
def test_peaks_of_flux_are_those_of_the_documented_table(mode, gib):
    assert peak_gib(sizes(), mode) == pytest.approx(gib, abs=0.06)


@pytest.mark.parametrize(
    ("card", "mode"), [(24, "blocks_to_cpu"), (40, "encoders_to_cpu"), (80, "resident"), (141, "resident")]
)
def test_the_card_decides_the_mode(card, mode):
    assert choose(sizes(), FREE[card]) == mode


def test_eight_bit_weights_fit_a_40_gb_card_whole():
    half = Sizes(denoiser=11.09, encoders=9.10, vae=0.16, activations=2.92, n_blocks=57)
    assert peak_gib(half, "resident") == pytest.approx(27.9, abs=0.05)
    assert choose(half, FREE[40]) == "resident"
    assert peak_gib(half, "model_offload") == pytest.approx(17.0, abs=0.05)
    assert choose(half, FREE[24]) == "model_offload"


def test_a_batch_that_no_longer_fits_resident_moves_the_encoders_out():
    large = Settings(model=FLUX.model, revision=FLUX.revision, batch=64)
    # 64 x 0.422 + 2.5 = 29.5 GiB: resident 1.2 x 60.9 = 73.1, without encoders 1.2 x 51.8 = 62.2
    assert choose(sizes(large), 65.0) == "encoders_to_cpu"


def test_a_card_that_holds_no_mode_is_refused_with_what_to_do():
    with pytest.raises(EnvironmentFault, match=r"8\.0 GiB free.*fp8_weights"):
        choose(sizes(), 8.0)


@pytest.mark.models
def test_a_visit_copies_weights_in_and_leaving_gives_back_the_same_host_tensor():
    torch = load_torch()
    layer = torch.nn.Linear(3, 2)
    layer.tied = layer.weight  # two names for one parameter, as T5 has
    before = layer.weight.detach().clone()
    host = layer.weight.data_ptr()
    parked = Parked({"layer": layer}, "cpu")
    assert (parked.is_here, layer.weight.data_ptr()) == (False, host)
    parked.enter()
    assert layer.weight.data_ptr() != host
    assert layer.tied is layer.weight
    assert torch.equal(layer.weight, before)
    parked.leave()
    assert layer.weight.data_ptr() == host


@pytest.mark.models
def test_pinned_memory_is_taken_as_asked_for_and_other_settings_of_torch_stay():
    switch = load_torch()._C
    before = switch._accelerator_getAllocatorSettings()
    try:
        switch._accelerator_setAllocatorSettings("max_split_size_mb:200")
        pin_exactly()
        pin_exactly()
        after = switch._accelerator_getAllocatorSettings()
    finally:
        switch._accelerator_setAllocatorSettings(before)
    assert after == "max_split_size_mb:200,pinned_max_round_threshold_mb:16"


@pytest.mark.models
def test_a_pipeline_of_several_stages_is_refused_by_name():
    load_torch()
    from diffusers import KandinskyCombinedPipeline

    with pytest.raises(ConfigError, match="KandinskyCombinedPipeline: has neither a transformer nor a UNet"):
        denoiser_of(KandinskyCombinedPipeline.__new__(KandinskyCombinedPipeline))
