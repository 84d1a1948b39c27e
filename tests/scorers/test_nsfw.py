from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from promptforge.errors import ConfigError
from promptforge.protocols import Picture
from promptforge.scorers import nsfw

pytestmark = pytest.mark.models

WIDTHS = (768, 64, 512, 256, 1)


def head_tensors(widths=WIDTHS):
    rng = np.random.default_rng(0)
    tensors = {
        "norm.mean": rng.standard_normal(768).astype(np.float32) / 30,
        "norm.variance": rng.uniform(0.0005, 0.002, 768).astype(np.float32),
    }
    for place, (a, b) in enumerate(pairwise(widths), 1):
        tensors[f"linear_{place}.weight"] = (rng.standard_normal((b, a)) * np.sqrt(2 / a)).astype(np.float32)
        tensors[f"linear_{place}.bias"] = rng.standard_normal(b).astype(np.float32) / 10
    return tensors


def saved(tensors, path):
    from safetensors.numpy import save_file

    save_file(tensors, path)
    return str(path)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    from tests.tiny_models.clip import tiny_clip

    folder = tmp_path_factory.mktemp("nsfw")
    return nsfw.Params(tower=str(tiny_clip(folder / "tower")), head=saved(head_tensors(), folder / "head.safetensors"))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(4)
    return [Picture(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8), "", "", (), None) for _ in range(4)]


def test_the_probability_is_that_of_the_network_in_torch(params, pictures):
    from promptforge.models.open_clip import tower_of
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    weight = {name: torch.tensor(each) for name, each in head_tensors().items()}
    scorer = nsfw.build(params)
    for picture in pictures:
        at = torch.tensor(tower_of(params.tower_spec).pictures([picture.pixels])[0])
        at = (at - weight["norm.mean"]) / weight["norm.variance"].sqrt()
        for place in (1, 2, 3, 4):
            at = torch.nn.functional.linear(at, weight[f"linear_{place}.weight"], weight[f"linear_{place}.bias"])
            at = torch.relu(at) if place < 4 else torch.sigmoid(at)
        (score,) = scorer.score(picture)
        assert (score.metric, score.value) == ("unsafe", pytest.approx(float(at), abs=1e-5))
        assert 0 < score.value < 1


def test_probabilities_do_not_depend_on_neighbours(params, pictures):
    scorer = nsfw.build(params)
    together = scorer.score_many([Picture(each.pixels.copy(), "", "", (), None) for each in pictures])
    assert [scorer.score(picture) for picture in pictures] == together


def test_the_head_has_no_default_and_a_hub_id_needs_its_revision():
    with pytest.raises(ValidationError, match="head"):
        nsfw.Params()
    with pytest.raises(ValidationError, match="40 hex digits"):
        nsfw.Params(head="someone/nsfw-head")


def test_a_head_without_its_norm_or_of_another_shape_is_refused(params, tmp_path):
    bare = {name: each for name, each in head_tensors().items() if not name.startswith("norm")}
    with pytest.raises(ConfigError, match=r"norm\.mean and norm\.variance of 768"):
        nsfw.build(params.model_copy(update={"head": saved(bare, tmp_path / "bare.safetensors")}))
    odd = head_tensors(widths=(768, 64, 512, 128, 1))
    with pytest.raises(ConfigError, match="expected linear layers of 768-64-512-256-1"):
        nsfw.build(params.model_copy(update={"head": saved(odd, tmp_path / "odd.safetensors")}))


def test_tower_and_head_are_judges(params):
    tower, head = nsfw.models(params)
    assert tower != head
    assert set(nsfw.identity(params)) == {"tower", "head"}


def test_the_self_test_passes(params):
    assert nsfw.self_test(params) == []
