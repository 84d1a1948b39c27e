from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.protocols import Picture
from promptforge.scorers import aesthetic

pytestmark = pytest.mark.models

WIDTHS = (768, 1024, 128, 64, 16, 1)
PLACES = (0, 2, 4, 6, 7)  # of the linear layers in the original's Sequential; dropout stands between the first four


def head_tensors(seed=0, widths=WIDTHS):
    rng = np.random.default_rng(seed)
    tensors = {}
    for place, (a, b) in zip(PLACES, pairwise(widths), strict=True):
        tensors[f"layers.{place}.weight"] = (rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32)
        tensors[f"layers.{place}.bias"] = rng.standard_normal(b).astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def tensors():
    return head_tensors()


@pytest.fixture(scope="module")
def params(tmp_path_factory, tensors):
    from safetensors.numpy import save_file

    from tests.tiny_models.clip import tiny_clip

    folder = tmp_path_factory.mktemp("aesthetic")
    save_file(tensors, folder / "head.safetensors")
    return aesthetic.Params(tower=str(tiny_clip(folder / "tower")), head=str(folder / "head.safetensors"))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(2)
    return [
        Picture(rng.integers(0, 256, (48, 40 + 8 * n, 3), dtype=np.uint8), "a cat", "image_quality", (), None)
        for n in range(5)
    ]


def test_the_mark_is_that_of_the_five_layers_one_after_the_other(params, tensors, pictures):
    from promptforge.models.open_clip import tower_of

    scorer = aesthetic.build(params)
    for picture in pictures:
        at = tower_of(params.tower_spec).pictures([picture.pixels])[0].astype(np.float64)
        for place in PLACES:
            at = tensors[f"layers.{place}.weight"].astype(np.float64) @ at + tensors[f"layers.{place}.bias"]
        (score,) = scorer.score(picture)
        assert score.metric == "render_aesthetic"
        assert score.value == pytest.approx(at[0], abs=1e-9)


def test_the_mark_is_that_of_the_original_network_in_torch(params, tensors, pictures):
    from promptforge.models.open_clip import tower_of
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    layers = []
    for width, after in pairwise(WIDTHS):
        layers.append(torch.nn.Linear(width, after))
        if len(layers) in {1, 3, 5}:
            layers.append(torch.nn.Dropout(0.2))
    network = torch.nn.Sequential(*layers).eval()
    network.load_state_dict({name.removeprefix("layers."): torch.tensor(each) for name, each in tensors.items()})
    vector = tower_of(params.tower_spec).pictures([pictures[0].pixels])[0]
    assert aesthetic.build(params).score(pictures[0])[0].value == pytest.approx(
        network(torch.tensor(vector)).item(), abs=1e-5
    )


def test_marks_do_not_depend_on_neighbours_or_on_the_way_of_asking(params, pictures):
    def fresh():
        return [Picture(each.pixels.copy(), each.text, each.axis, (), None) for each in pictures]

    scorer = aesthetic.build(params)
    together = [scores[0].value for scores in scorer.score_many(fresh())]
    assert [scorer.score(picture)[0].value for picture in fresh()] == together
    assert [scores[0].value for scores in scorer.score_many(fresh()[::-1])][::-1] == together
    assert len(set(together)) == 5


def test_metrics_and_names_agree(params, pictures):
    assert [score.metric for score in aesthetic.build(params).score(pictures[0])] == list(aesthetic.METRICS)


def test_a_head_of_another_shape_is_refused(params, tmp_path):
    from safetensors.numpy import save_file

    save_file(head_tensors(widths=(768, 512, 128, 64, 16, 1)), tmp_path / "head.safetensors")
    with pytest.raises(ConfigError, match="expected linear layers of 768-1024-128-64-16-1"):
        aesthetic.build(params.model_copy(update={"head": str(tmp_path / "head.safetensors")}))


def test_a_tower_of_another_width_is_refused(params, tmp_path):
    from tests.tiny_models.clip import tiny_clip

    narrow = tiny_clip(tmp_path / "narrow", embed_dim=512)
    with pytest.raises(ConfigError, match="embeddings of 512 numbers; the aesthetic head takes 768"):
        aesthetic.build(params.model_copy(update={"tower": str(narrow)}))


def test_a_pickled_head_is_refused(params, tmp_path):
    (tmp_path / "head.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(EnvironmentFault, match="can run code when read"):
        aesthetic.build(params.model_copy(update={"head": str(tmp_path / "head.pth")}))


def test_the_default_head_is_pinned_and_another_needs_its_revision():
    found = aesthetic.identity(aesthetic.Params())
    assert found["head"] == {
        "repository": "ttj/sac-logos-ava1-l14-linearMSE",
        "revision": "1e77fa05081323d99725fc40a9bf9f88180490e7",
    }
    assert aesthetic.models(aesthetic.Params()) == (
        "timm/vit_large_patch14_clip_224.openai",
        "ttj/sac-logos-ava1-l14-linearMSE",
    )
    with pytest.raises(ValidationError, match="40 hex digits"):
        aesthetic.Params(head="someone/another-head")


def test_other_weights_have_another_identity(params, tmp_path):
    from safetensors.numpy import save_file

    save_file(head_tensors(seed=1), tmp_path / "head.safetensors")
    other = params.model_copy(update={"head": str(tmp_path / "head.safetensors")})
    assert aesthetic.identity(other)["tower"] == aesthetic.identity(params)["tower"]
    assert aesthetic.identity(other)["head"] != aesthetic.identity(params)["head"]


def test_the_self_test_passes_and_names_a_head_that_does_not_fit(params, tmp_path):
    from safetensors.numpy import save_file

    assert aesthetic.self_test(params) == []
    save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / "odd.safetensors")
    (fault,) = aesthetic.self_test(params.model_copy(update={"head": str(tmp_path / "odd.safetensors")}))
    assert "holds weight (2, 2); expected linear layers of 768-1024-128-64-16-1" in fault
