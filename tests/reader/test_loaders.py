"""Pictures and streams inside torch's DataLoader, with workers that are forked and workers that are spawned."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from promptforge.reader import Pictures, Stream

from .conftest import N, pixels

pytestmark = [
    pytest.mark.models,
    # A worker with threads: what is forked here holds no lock of theirs.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
]

WAYS = ["fork", "spawn"]


def loader(data: Any, **settings: Any) -> Any:
    import torch.utils.data

    return torch.utils.data.DataLoader(data, **settings)


def numbers(batches: Any) -> list[list[int]]:
    return [[int(each, 16) for each in batch["prompt_id"]] for batch in batches]


@pytest.mark.parametrize("way", WAYS)
def test_pictures_are_drawn_by_a_loaders_sampler(dataset: Path, way: str) -> None:
    data = Pictures(dataset, columns=["prompt_id", "image"])
    seen = []
    for batch in loader(data, batch_size=8, shuffle=True, num_workers=2, multiprocessing_context=way):
        assert batch["image"].shape[1:] == (16, 24, 3)
        for name, image in zip(batch["prompt_id"], batch["image"], strict=True):
            seen.append(int(name, 16))
            assert (image.numpy() == pixels(seen[-1])).all()
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("way", WAYS)
def test_batches_come_in_one_order_whatever_the_number_of_workers(dataset: Path, way: str) -> None:
    import torch  # before the stream, which says to torch what it is

    assert torch.utils.data
    stream = Stream(dataset, columns=["prompt_id", "image"], seed=5, batch_size=4)
    alone = numbers(loader(stream, batch_size=4))
    assert [len(batch) for batch in alone] == [4] * 11 + [2]
    kept = loader(stream, batch_size=4, num_workers=2, multiprocessing_context=way, persistent_workers=True)
    assert numbers(kept) == alone
    stream.set_epoch(1)  # workers that are kept hear of it
    later = numbers(kept)
    assert sorted(itertools.chain(*later)) == list(range(N))
    assert later == numbers(loader(Stream(dataset, columns=["prompt_id"], seed=5, batch_size=4, epoch=1), batch_size=4))


@pytest.mark.parametrize("batches", [1, 5, 6])
def test_a_loader_with_workers_goes_on_in_the_middle_of_an_epoch(dataset: Path, batches: int) -> None:
    import torch

    assert torch.utils.data
    wanted: dict[str, Any] = {"columns": ["prompt_id"], "batch_size": 4, "rank": 1, "world": 2}
    stream = Stream(dataset, epoch=3, weights={"text_rendering": 4}, **wanted)
    whole = numbers(loader(stream, batch_size=4, num_workers=2))
    state = stream.state_dict(given=batches * 4)
    other = Stream(dataset, weights={"text_rendering": 4}, **wanted)
    other.load_state_dict(state)
    rest = loader(other, batch_size=4, num_workers=2)
    other.set_epoch(3)
    assert numbers(rest) == whole[batches:]
    other.set_epoch(4)
    assert len(numbers(rest)) == len(whole)


def test_a_stream_made_before_torch_says_what_to_do(dataset: Path) -> None:
    import subprocess
    import sys

    code = (
        f"from promptforge.reader import Stream\nstream = Stream({str(dataset)!r})\n"
        "from torch.utils.data import DataLoader\nnext(iter(DataLoader(stream)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "import torch before it is made" in said.stderr
