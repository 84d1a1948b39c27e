"""Latents and embeddings beside the rows, out of a run's committed tables."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from promptforge.errors import ConfigError, StoreFault
from promptforge.reader import Pictures, Stream
from promptforge.schema import arrow_schema
from promptforge.store import Store

from .conftest import N, pixels

NAMES = ("prompt_embeds", "pooled_prompt_embeds")


def latent(number: int) -> np.ndarray:
    return np.arange(24, dtype=np.float32).reshape(4, 2, 3) + number


def embedding(number: int, teacher: str) -> np.ndarray:
    """16 bits of a bfloat16, tokens x width; the pooled one is its first token."""
    return np.arange(40, dtype=np.uint16).reshape(5, 8) + number + 1000 * (teacher == "canvas")


def commit(root: Path, teachers: tuple[str, ...]) -> None:
    """Latents of the pictures whose number is no multiple of 3, embeddings of every prompt, in two commits."""
    store, keys = Store(root), []
    for shard, rows in (("00000", range(20)), ("00001", range(20, N))):
        latents = [
            {"image_id": f"{n:031x}i", "dtype": "float32", "shape": [4, 2, 3], "data": latent(n).tobytes()}
            for n in rows
            if n % 3
        ]
        embeddings = [
            {"prompt_id": f"{n:032x}", "teacher": teacher, "name": name, "dtype": "bfloat16"}
            | {"shape": list(value.shape), "data": value.tobytes()}
            for n in reversed(rows)
            for teacher in teachers
            for name, value in zip(NAMES, (embedding(n, teacher), embedding(n, teacher)[0]), strict=True)
        ]
        made = {"latents": latents, "embeddings": embeddings}
        tables = {name: pa.Table.from_pylist(each, schema=arrow_schema(name)) for name, each in made.items()}
        keys.append(store.commit("render", shard, shard * 8, tables).key)
    store.new_head(store.epoch(), {}, {"render": keys})


@pytest.fixture
def run(dataset: Path) -> Path:
    commit(dataset.parent, ("another", "canvas"))
    return dataset


def test_latents_come_with_their_picture_and_none_where_there_is_none(run: Path) -> None:
    data = Pictures(run, columns=["image", "latents"])
    for number in range(N):
        row = data[number]
        assert (row["image"] == pixels(number)).all()
        if number % 3:
            assert row["latents"].dtype == np.float32
            assert (row["latents"] == latent(number)).all()
            assert row["latents_dtype"] == "float32"
        else:
            assert row["latents"] is row["latents_dtype"] is None


def test_embeddings_are_those_of_the_teacher_who_drew_the_picture(run: Path) -> None:
    for row in Stream(run, columns=["prompt_id", *NAMES], pictures=True, seed=3):
        number = int(row["prompt_id"], 16)
        assert row["prompt_embeds_dtype"] == "bfloat16"
        assert row["prompt_embeds"].dtype == np.uint16
        assert (row["prompt_embeds"] == embedding(number, "canvas")).all()
        assert (row["pooled_prompt_embeds"] == embedding(number, "canvas")[0]).all()
        row["prompt_embeds"][:] = 0  # it may be written to


def test_embeddings_of_several_teachers_need_a_picture_to_say_which(run: Path) -> None:
    with pytest.raises(ConfigError, match="of teachers another, canvas"):
        Stream(run, columns=["prompt_embeds"])


def test_prompts_alone_have_the_embeddings_of_the_one_teacher(dataset: Path) -> None:
    commit(dataset.parent, ("another",))
    data = Pictures(dataset, columns=["text", "prompt_embeds"])
    assert list(data[45]) == ["text", "prompt_embeds", "prompt_embeds_dtype"]
    assert (data[45]["prompt_embeds"] == embedding(45, "another")).all()


def test_a_run_elsewhere_is_named(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "dataset"
    run.rename(moved)
    with pytest.raises(ConfigError, match="no run"):
        Pictures(moved, columns=["latents"])
    data = pickle.loads(pickle.dumps(Pictures(moved, columns=["latents"], run=tmp_path / "run")))
    assert (data[1]["latents"] == latent(1)).all()


def test_a_run_without_tensors_says_what_to_set(dataset: Path) -> None:
    store = Store(dataset.parent)
    store.new_head(store.epoch(), {}, {})
    with pytest.raises(ConfigError, match=r"holds no latents; set regime\.store_latents"):
        Pictures(dataset, columns=["latents"])


def test_a_changed_tensor_file_is_named_and_not_read(run: Path) -> None:
    path = sorted((run.parent / "latents").glob("*.parquet"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreFault, match="sha256 is"):
        Pictures(run, columns=["latents"])


@pytest.mark.models
def test_sixteen_bits_are_the_tensor_in_torch(run: Path) -> None:
    import torch

    row = Pictures(run, columns=["prompt_embeds"], pictures=True)[7]
    found = torch.from_numpy(row["prompt_embeds"]).view(getattr(torch, row["prompt_embeds_dtype"]))
    want = torch.frombuffer(bytearray(embedding(7, "canvas").tobytes()), dtype=torch.bfloat16).reshape(5, 8)
    assert torch.equal(found.view(torch.int16), want.view(torch.int16))
