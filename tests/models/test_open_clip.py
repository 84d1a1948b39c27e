import gc
import json
import shutil
import threading

import numpy as np
import pytest
from pydantic import ValidationError

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.clip_weights import DEFAULT_REVISION, DEFAULT_TOWER, TowerSpec
from promptforge.models.open_clip import Tower, TowerParams, sample_picture, self_test, tower_of

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tests.tiny_models.clip import tiny_clip

    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def tower(folder):
    return Tower(TowerSpec(str(folder)), "cpu")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(5)
    sizes = [(64, 64), (40, 96), (90, 41), (28, 28), (33, 200)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def edited(folder, target, **model_cfg):
    shutil.copytree(folder, target)
    config = json.loads((target / "open_clip_config.json").read_text())
    config["model_cfg"] |= model_cfg
    config["model_cfg"] = {key: value for key, value in config["model_cfg"].items() if value is not None}
    (target / "open_clip_config.json").write_text(json.dumps(config))
    return target


def as_transformers(folder):
    """transformers' CLIPModel with the weights of a folder of ours: another implementation of the same network."""
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    vision, text = config["vision_cfg"], config["text_cfg"]
    act = "quick_gelu" if config["quick_gelu"] else "gelu"
    model = CLIPModel(
        CLIPConfig(
            projection_dim=config["embed_dim"],
            vision_config={
                "hidden_size": vision["width"],
                "intermediate_size": 4 * vision["width"],
                "num_hidden_layers": vision["layers"],
                "num_attention_heads": vision["width"] // vision["head_width"],
                "image_size": vision["image_size"],
                "patch_size": vision["patch_size"],
                "hidden_act": act,
                "projection_dim": config["embed_dim"],
            },
            text_config={
                "hidden_size": text["width"],
                "intermediate_size": 4 * text["width"],
                "num_hidden_layers": text["layers"],
                "num_attention_heads": text["heads"],
                "max_position_embeddings": text["context_length"],
                "vocab_size": text["vocab_size"],
                "hidden_act": act,
                "projection_dim": config["embed_dim"],
                "bos_token_id": 49406,
                "eos_token_id": 49407,
                "pad_token_id": 0,
            },
        )
    ).eval()
    ours = load_file(folder / "open_clip_model.safetensors")
    theirs = {
        "logit_scale": ours["logit_scale"],
        "visual_projection.weight": ours["visual.proj"].T,
        "text_projection.weight": ours["text_projection"].T,
        "vision_model.embeddings.class_embedding": ours["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": ours["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": ours["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": ours["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": ours["positional_embedding"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for side, name, layers in (("visual.", "vision_model", vision["layers"]), ("", "text_model", text["layers"])):
        for layer in range(layers):
            block, other = f"{side}transformer.resblocks.{layer}", f"{name}.encoder.layers.{layer}"
            norms |= {f"{block}.ln_1": f"{other}.layer_norm1", f"{block}.ln_2": f"{other}.layer_norm2"}
            norms |= {f"{block}.mlp.c_fc": f"{other}.mlp.fc1", f"{block}.mlp.c_proj": f"{other}.mlp.fc2"}
            norms[f"{block}.attn.out_proj"] = f"{other}.self_attn.out_proj"
            for end in ("weight", "bias"):
                joined = ours[f"{block}.attn.in_proj_{end}"].chunk(3)
                theirs |= {f"{other}.self_attn.{k}_proj.{end}": v for k, v in zip("qkv", joined, strict=True)}
    for ours_name, theirs_name in norms.items():
        theirs |= {f"{theirs_name}.{end}": ours[f"{ours_name}.{end}"] for end in ("weight", "bias")}
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all(name.endswith("position_ids") for name in missing)
    return model


def of_length_one(rows):
    return (rows / rows.norm(dim=-1, keepdim=True)).detach().numpy()


def test_picture_embeddings_are_those_of_transformers_clip(folder, tower, pictures):
    model = as_transformers(folder)
    for pixels, ours in zip(pictures, tower.pictures(pictures), strict=True):
        pooled = model.vision_model(pixel_values=tower.prepare(pixels)[None]).pooler_output
        theirs = of_length_one(model.visual_projection(pooled))[0]
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_text_embeddings_are_those_of_transformers_clip(folder, tower):
    import open_clip

    model = as_transformers(folder)
    for text in ("a red cube", "", 'a sign that says "OPEN", at night'):
        pooled = model.text_model(input_ids=open_clip.tokenize([text])).pooler_output
        np.testing.assert_allclose(tower.text(text)[0], of_length_one(model.text_projection(pooled))[0], atol=2e-6)


def test_quick_gelu_changes_the_embedding(folder, tower, pictures, tmp_path):
    # So the comparison with transformers above would notice the wrong activation.
    model = as_transformers(edited(folder, tmp_path / "gelu", quick_gelu=False))
    pooled = model.vision_model(pixel_values=tower.prepare(pictures[0])[None]).pooler_output
    other = of_length_one(model.visual_projection(pooled))[0]
    assert np.abs(tower.pictures(pictures[:1])[0] - other).max() > 1e-4


def test_the_transform_is_open_clips_own(folder, tower, pictures):
    import open_clip
    from PIL import Image

    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    for pixels in pictures:
        assert tower.prepare(pixels).equal(transform(Image.fromarray(pixels)))


def test_embeddings_have_length_one_in_float32(tower, pictures):
    vectors = [*tower.pictures(pictures), tower.text("a cat")[0]]
    assert {vector.dtype for vector in vectors} == {np.dtype(np.float32)}
    assert {vector.shape for vector in vectors} == {(768,)}
    np.testing.assert_allclose([np.linalg.norm(vector.astype(np.float64)) for vector in vectors], 1, atol=1e-6)


def test_a_picture_is_embedded_the_same_alone_among_others_and_in_any_order(folder, pictures):
    def embedded(order):
        made = Tower(TowerSpec(str(folder)), "cpu").pictures([pictures[place] for place in order])
        return {place: vector.tobytes() for place, vector in zip(order, made, strict=True)}

    together = embedded([0, 1, 2, 3, 4])
    assert embedded([4, 2, 0, 3, 1]) == together
    for place in together:
        assert embedded([place])[place] == together[place]


def test_more_pictures_than_two_batches_stay_in_order(folder, pictures):
    tower = Tower(TowerSpec(str(folder)), "cpu")
    many = [pictures[number % 5].copy() for number in range(70)]
    made = tower.pictures(many)
    wanted = Tower(TowerSpec(str(folder)), "cpu").pictures(pictures)
    assert [vector.tobytes() for vector in made] == [wanted[number % 5].tobytes() for number in range(70)]


def test_an_array_is_embedded_once_while_it_lives(folder, pictures):
    tower = Tower(TowerSpec(str(folder)), "cpu")
    seen = []
    tower.model.visual.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    mine = [pictures[0].copy(), pictures[1].copy()]
    first = tower.pictures([mine[0], mine[1], mine[0]])
    again = tower.pictures([mine[1], mine[0]])
    assert seen == [1, 1]
    assert again[1] is first[0] is first[2]
    tower.pictures([mine[0].copy()])  # equal pixels in another array
    assert seen == [1, 1, 1]


def test_nothing_is_kept_of_arrays_that_are_gone(folder, pictures):
    tower = Tower(TowerSpec(str(folder)), "cpu")
    for _ in range(3):
        tower.pictures([pixels.copy() for pixels in pictures])
    gc.collect()
    assert not tower._made


def test_texts_are_remembered_up_to_a_bound(folder, monkeypatch):
    monkeypatch.setattr("promptforge.models.open_clip.KEPT_TEXTS", 3)
    tower = Tower(TowerSpec(str(folder)), "cpu")
    seen = []
    tower.model.transformer.register_forward_hook(lambda *_: seen.append(1))
    first = tower.text("one")
    assert tower.text("one") is first
    for text in ("two", "three", "four"):
        tower.text(text)
    assert len(seen) == 4
    assert tower.text("one")[0].tobytes() == first[0].tobytes()
    assert len(seen) == 5


def test_a_text_is_truncated_from_the_78th_token_on(tower):
    # Each "a" is one token; start and end marks are two of the 77.
    assert tower.text(" ".join(["a"] * 75))[1] is False
    assert tower.text(" ".join(["a"] * 76))[1] is True


def test_two_scorers_share_one_tower(folder):
    assert tower_of(TowerSpec(str(folder))) is tower_of(TowerSpec(str(folder)))


def test_threads_get_the_embeddings_of_one(folder, tower, pictures):
    shared = Tower(TowerSpec(str(folder)), "cpu")
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: shared.pictures([pictures[n].copy()])[0]}))
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, vector in enumerate(tower.pictures(pictures)):
        assert found[number].tobytes() == vector.tobytes()


def test_a_named_config_and_a_lone_file_make_the_same_tower(folder, tower, pictures, tmp_path, monkeypatch):
    import open_clip
    from open_clip import factory

    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    (tmp_path / "tiny-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-quickgelu.json")
    file = str(folder / "open_clip_model.safetensors")
    lone = Tower(TowerSpec(file, architecture="tiny-quickgelu", quick_gelu=True), "cpu")
    for ours, theirs in zip(lone.pictures(pictures), tower.pictures(pictures), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    with pytest.raises(ConfigError, match="QuickGELU mismatch: the parameter quick_gelu"):
        Tower(TowerSpec(file, architecture="tiny-quickgelu", quick_gelu=False), "cpu")
    with pytest.raises(ConfigError, match="nothing says whether"):
        Tower(TowerSpec(file, architecture="tiny-quickgelu"), "cpu")


def test_quick_gelu_weights_under_a_plain_config_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"its open_clip_config\.json says that the weights were trained with it"):
        Tower(TowerSpec(str(folder), architecture="ViT-L-14"), "cpu")
    plain = edited(folder, tmp_path / "plain", quick_gelu=False)
    with pytest.raises(ConfigError, match="trained without it, and the config ViT-L-14-quickgelu runs them with"):
        Tower(TowerSpec(str(plain), architecture="ViT-L-14-quickgelu"), "cpu")
    with pytest.raises(ConfigError, match="the parameter quick_gelu says that the weights were trained with it"):
        Tower(TowerSpec(str(plain), quick_gelu=True), "cpu")


@pytest.mark.parametrize(
    ("source", "architecture"), [(DEFAULT_TOWER, "ViT-L-14"), ("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", None)]
)
def test_open_clips_table_is_heard_about_a_hub_repository(source, architecture, folder, tmp_path, monkeypatch):
    # OpenAI's weights under a config without QuickGELU, and LAION's under one with it. The files are not fetched: the
    # hub's cache is laid out by hand.
    revision = "0123456789" * 4
    snapshot = tmp_path / f"models--{source.replace('/', '--')}" / "snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    edited(folder, snapshot, quick_gelu=None if architecture else True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="open_clip's table says"):
        Tower(TowerSpec(source, revision, architecture), "cpu")


def test_what_does_not_fit_is_refused_with_the_remedy(folder, tmp_path):
    wider = edited(folder, tmp_path / "wider", embed_dim=512)
    with pytest.raises(ConfigError, match="does not fit the architecture"):
        Tower(TowerSpec(str(wider)), "cpu")
    with pytest.raises(ConfigError, match=r"no config 'ViT-L-15'"):
        Tower(TowerSpec(str(folder), architecture="ViT-L-15"), "cpu")
    with pytest.raises(ConfigError, match=r"no open_clip_config\.json beside the weights"):
        Tower(TowerSpec(str(folder / "open_clip_model.safetensors")), "cpu")
    with pytest.raises(EnvironmentFault, match="no such model file"):
        Tower(TowerSpec(str(tmp_path / "nowhere")), "cpu")


def test_a_text_tower_from_elsewhere_is_refused(folder, tmp_path):
    text = {"hf_model_name": "xlm-roberta-base", "context_length": 77}
    with pytest.raises(ConfigError, match="fetched from elsewhere at no revision"):
        Tower(TowerSpec(str(edited(folder, tmp_path / "roberta", text_cfg=text))), "cpu")
    with pytest.raises(ConfigError, match="fetched from elsewhere at no revision"):
        Tower(TowerSpec(str(folder), architecture="ViT-B-16-SigLIP"), "cpu")


def test_pickles_are_never_read(folder, tmp_path):
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "open_clip_model.safetensors").rename(pickled / "open_clip_pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match="can run code when read"):
        Tower(TowerSpec(str(pickled)), "cpu")
    # open_clip would take the pickle before a model.safetensors.
    shutil.copy(folder / "open_clip_model.safetensors", pickled / "model.safetensors")
    with pytest.raises(ConfigError, match=r"expected open_clip_model\.safetensors"):
        Tower(TowerSpec(str(pickled)), "cpu")


def test_the_self_test_finds_nothing_wrong_with_a_good_tower(folder):
    spec = TowerSpec(str(folder))
    assert self_test(spec, lambda: lambda pixels: float(tower_of(spec).pictures([pixels])[0][0])) == []


def test_the_self_test_says_what_is_wrong(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    spec = TowerSpec(str(shutil.copytree(folder, tmp_path / "nan")))
    tensors = load_file(folder / "open_clip_model.safetensors")
    tensors["visual.ln_post.bias"][0] = float("nan")
    save_file(tensors, tmp_path / "nan" / "open_clip_model.safetensors")
    faults = self_test(spec, lambda: lambda pixels: None)
    assert any("embedding of a picture has length nan" in fault for fault in faults)
    assert any("measured twice gave None" in fault for fault in faults)
    (missing,) = self_test(TowerSpec(str(tmp_path / "nowhere")), lambda: lambda pixels: 0.0)
    assert "no such model file" in missing


def test_the_sample_picture_is_a_red_square_on_a_ramp():
    pixels = sample_picture()
    assert pixels.shape == (256, 256, 3)
    assert pixels[128, 128].tolist() == [220, 20, 20]
    assert pixels[0, 200].tolist() == [200, 200, 200]


def test_the_default_tower_is_pinned_and_another_hub_id_needs_its_revision(folder):
    spec = TowerParams().tower_spec
    assert spec == TowerSpec(DEFAULT_TOWER, DEFAULT_REVISION, "ViT-L-14-quickgelu")
    assert spec.identity() == {"repository": DEFAULT_TOWER, "revision": DEFAULT_REVISION}
    with pytest.raises(ValidationError, match="40 hex digits of a commit"):
        TowerParams(tower="laion/CLIP-ViT-L-14-laion2B-s32B-b82K")
    with pytest.raises(ValidationError, match="40 hex digits of a commit"):
        TowerParams(tower_revision="main")
    assert TowerParams(tower=str(folder)).tower_spec == TowerSpec(str(folder))


def test_a_judge_is_named_by_its_weights_and_not_by_where_they_lie(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert TowerSpec(str(moved)).judge == TowerSpec(str(folder)).judge
    assert TowerSpec(DEFAULT_TOWER, "0" * 40).judge == DEFAULT_TOWER
