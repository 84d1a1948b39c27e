"""Survivors among vectors, against a join of all pairs in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from promptforge.stages.meaning import search
from promptforge.stages.meaning.search import survivors


def _cloud(seed: int, n: int = 600, width: int = 24) -> np.ndarray:
    """Vectors in bundles, so that many pairs are near and chains of them are not closed."""
    random = np.random.default_rng(seed)
    middle = random.normal(size=(n // 12, width))
    found = middle[random.integers(0, len(middle), n)] + random.normal(scale=0.45, size=(n, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def _brute(vectors: np.ndarray, groups: np.ndarray, threshold: float, n_fixed: int) -> list[int]:
    """The rule, row by row: a row goes to the first survivor before it that it resembles."""
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    cosine = wide @ wide.T
    winner: list[int] = []
    for row in range(len(vectors)):
        before = [
            other
            for other in range(row)
            if winner[other] == other and groups[other] == groups[row] and cosine[other, row] >= threshold
        ]
        winner.append(before[0] if before and row >= n_fixed else row)
    return winner


@pytest.mark.parametrize(("block", "n_fixed", "n_groups"), [(2048, 0, 1), (64, 0, 1), (64, 200, 3), (7, 50, 1)])
def test_survivors_are_those_of_all_pairs_in_turn(
    monkeypatch: pytest.MonkeyPatch, block: int, n_fixed: int, n_groups: int
) -> None:
    monkeypatch.setattr(search, "BLOCK", block)
    vectors = _cloud(3)
    groups = np.random.default_rng(4).integers(0, n_groups, len(vectors)).astype(np.uint64)
    winner, cosine = survivors(vectors, groups, 0.8, n_fixed=n_fixed)
    wanted = _brute(vectors, groups, 0.8, n_fixed)
    assert winner.tolist() == wanted
    dropped = np.flatnonzero(winner != np.arange(len(winner)))
    assert len(dropped) > 100
    wide = vectors.astype(np.float64)
    for row in dropped[:50]:
        both = wide[[row, winner[row]]]
        assert cosine[row] == pytest.approx(both[0] @ both[1] / np.prod(np.linalg.norm(both, axis=1)), abs=1e-12)


def test_what_is_held_apart_forms_no_pair() -> None:
    vectors = np.tile(np.array([[0.6, 0.8]], np.float16), (4, 1))
    odd = lambda a, b: (a + b) % 2 == 0  # noqa: E731
    winner, _ = survivors(vectors, np.zeros(4, np.uint64), 0.99, agree=odd)
    assert winner.tolist() == [0, 1, 0, 1]


def test_a_row_without_a_vector_resembles_none() -> None:
    vectors = np.array([[1, 0], [np.nan, np.nan], [1, 0], [0, 0], [0, 0]], np.float16)
    winner, cosine = survivors(vectors, np.zeros(5, np.uint64), 0.5)
    assert winner.tolist() == [0, 1, 0, 3, 4]
    assert cosine.tolist() == [1, 1, 1, 1, 1]


def test_no_row_chains_two_that_do_not_resemble_each_other() -> None:
    # 0 and 30 degrees, 30 and 60: cosine 0.866; 0 and 60: 0.5.
    turn = np.radians([0, 30, 60])
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float16)
    assert survivors(vectors, np.zeros(3, np.uint64), 0.8)[0].tolist() == [0, 0, 2]
