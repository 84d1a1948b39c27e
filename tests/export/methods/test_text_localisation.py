"""Where text is made (arXiv 2502.09935): what attention takes from the text is patched from B's run into A's, by layer.

The pairs, their noise and their pictures are those of `export text-loc`. With random weights the table says nothing
about FLUX; that it can be made, and its two ends, are what is tested.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import GUIDANCE, LENGTH, SIZE, STEPS, Drawn

pytestmark = pytest.mark.models

POOLED = "pooled"  #: CLIP's pooled embedding: FLUX takes the text from there as well, beside its attention


@pytest.fixture(scope="module")
def pairs(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The lines of pairs.jsonl, with the pixels of both pictures."""
    train = drawn.export("text-loc", tmp_path_factory.mktemp("text-loc") / "out") / "train"
    found = [json.loads(line) for line in (train / "pairs.jsonl").read_text("utf-8").splitlines()]
    return [{**pair, **{f"picture_{side}": _pixels(train / pair[f"file_{side}"]) for side in "ab"}} for pair in found]


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _layers(net: Any) -> dict[str, list[tuple[Any, int | None]]]:
    """Layer -> the modules that make something of the text; with a number, of so many first tokens alone."""
    found: dict[str, list[tuple[Any, int | None]]] = {POOLED: [(net.time_text_embed.text_embedder, None)]}
    for number, block in enumerate(net.transformer_blocks):
        found[f"joint {number}"] = [(block.attn.add_k_proj, None), (block.attn.add_v_proj, None)]
    for number, block in enumerate(net.single_transformer_blocks):
        found[f"single {number}"] = [(block.attn.to_k, LENGTH), (block.attn.to_v, LENGTH)]
    return found


@contextmanager
def _hooked(net: Any, act: Any) -> Iterator[None]:
    """Inside, act(layer, place, tokens, output) may replace what a module made of the text."""
    hooks = []
    for layer, modules in _layers(net).items():
        for place, (module, tokens) in enumerate(modules):

            def hook(_: Any, given: Any, made: Any, layer: str = layer, place: int = place, n: Any = tokens) -> Any:
                del given
                return act(layer, place, n, made)

            hooks.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _draw(pipe: Any, text: str, seed: int, form: str = "pil") -> Any:
    """The picture's pixels, or its final latent where form is "latent"."""
    import torch

    made = pipe(
        text,
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        max_sequence_length=LENGTH,
        generator=torch.Generator().manual_seed(seed),
        output_type=form,
    )
    return np.asarray(made.images[0])


def _cached(pipe: Any, text: str, seed: int) -> dict[tuple[str, int], list[Any]]:
    """What every module made of the text, step by step."""
    found: dict[tuple[str, int], list[Any]] = {}

    def keep(layer: str, place: int, tokens: int | None, made: Any) -> None:
        found.setdefault((layer, place), []).append((made if tokens is None else made[:, :tokens]).clone())

    with _hooked(pipe.transformer, keep):
        _draw(pipe, text, seed)
    return found


def _patched(
    pipe: Any, pair: Mapping[str, Any], cache: Mapping[tuple[str, int], list[Any]], layers: Collection[str], form: str
) -> Any:
    """A's picture or latent, with these layers' share of B's cache in place of their own."""
    import torch

    left = {key: iter(made) for key, made in cache.items()}

    def patch(layer: str, place: int, tokens: int | None, made: Any) -> Any:
        other = next(left[layer, place])
        if layer not in layers:
            return made
        return other if tokens is None else torch.cat([other, made[:, tokens:]], dim=1)

    with _hooked(pipe.transformer, patch):
        return _draw(pipe, pair["caption_a"], pair["seed"], form)


def test_the_pairs_pictures_are_drawn_from_one_noise(pipe: Any, pairs: list[dict[str, Any]]) -> None:
    assert len(pairs) >= 3
    for pair in pairs:
        assert pair["text_a"] in pair["caption_a"] and pair["text_b"] in pair["caption_b"]
        assert pair["caption_a"].replace(pair["text_a"], "") == pair["caption_b"].replace(pair["text_b"], "")
        for side in "ab":
            assert np.array_equal(_draw(pipe, pair[f"caption_{side}"], pair["seed"]), pair[f"picture_{side}"])
        assert not np.array_equal(pair["picture_a"], pair["picture_b"])


def test_patching_nothing_leaves_a_and_patching_every_layer_gives_b(pipe: Any, pairs: list[dict[str, Any]]) -> None:
    every = set(_layers(pipe.transformer))
    for pair in pairs:
        cache = _cached(pipe, pair["caption_b"], pair["seed"])
        assert {len(made) for made in cache.values()} == {STEPS}
        assert np.array_equal(_patched(pipe, pair, cache, (), "pil"), pair["picture_a"])
        assert np.array_equal(_patched(pipe, pair, cache, every, "pil"), pair["picture_b"])
        b = _draw(pipe, pair["caption_b"], pair["seed"], "latent")
        assert np.array_equal(_patched(pipe, pair, cache, every, "latent"), b)
        assert not np.array_equal(_patched(pipe, pair, cache, every - {POOLED}, "latent"), b)


def test_each_layer_has_its_effect_on_each_pair(pipe: Any, pairs: list[dict[str, Any]]) -> None:
    table = {}
    for pair in pairs:
        cache = _cached(pipe, pair["caption_b"], pair["seed"])
        a, b = (_draw(pipe, pair[f"caption_{side}"], pair["seed"], "latent") for side in "ab")
        for layer in _layers(pipe.transformer):
            made = _patched(pipe, pair, cache, {layer}, "latent")
            table[pair["pair_id"], layer] = float(np.linalg.norm(made - a) / np.linalg.norm(b - a))
    layers = [POOLED, "joint 0", "joint 1", "single 0", "single 1"]
    assert list(table) == [(pair["pair_id"], layer) for pair in pairs for layer in layers]
    assert all(effect > 0 for effect in table.values())
    assert len(set(table.values())) == len(table)
