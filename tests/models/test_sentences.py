"""Sentence vectors of a tiny BERT with random weights, against transformers' own call on one text at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import sentences
from tests.tiny_models.encoders import tiny_encoder

pytestmark = pytest.mark.models
# One short, one long, one of unknown letters: padding, attention and the mean differ.
TEXTS = ["a red cup", "two dogs and a very old lamp left of a green chair on the table", "", "Ωδ ß", "a red cup"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_a_vector_is_the_mean_over_the_mask_as_transformers_alone_gives_it(folder: Path) -> None:
    import torch
    from transformers import BertModel, BertTokenizerFast

    model, tokenizer = BertModel.from_pretrained(folder).eval(), BertTokenizerFast.from_pretrained(folder)
    found = sentences.load(str(folder), None).encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (5, 32)
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        wanted = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        np.testing.assert_allclose(vector, wanted, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[4])


def test_what_is_behind_the_models_length_is_not_read(folder: Path) -> None:
    encoder = sentences.load(str(folder), None)
    assert encoder.max_tokens == 64  # of its config; the file of sentence-transformers is absent
    one, other = encoder.encode(["cup " * 100 + "dog", "cup " * 100 + "lamp"])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_other_pooling_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    (folder / "1_Pooling").mkdir()
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    with pytest.raises(ConfigError, match="says pooling_mode_cls_token; only pooling_mode_mean_tokens"):
        sentences.load(str(folder), None)
    path.write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(ConfigError, match=r"modules\.json: names Dense"):
        sentences.load(str(folder), None)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match="which can run code when read"):
        sentences.load(str(folder), None)


def test_weights_that_lack_a_part_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_encoder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"lack 1 parts of the model, encoder\.layer\.1\.output\.dense\.weight"):
        sentences.load(str(folder), None)


def test_identity_is_the_content_and_not_the_place(tmp_path: Path, folder: Path) -> None:
    same, other = tiny_encoder(tmp_path / "same"), tiny_encoder(tmp_path / "other", seed=1)
    assert sentences.identity(str(same), None) == sentences.identity(str(folder), None)
    assert sentences.identity(str(other), None) != sentences.identity(str(folder), None)
    hub = sentences.identity("owner/name", "0" * 40)
    assert hub == {"version": sentences.VERSION, "repository": "owner/name", "revision": "0" * 40}
