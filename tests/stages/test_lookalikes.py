import base64

import numpy as np
import pyarrow as pa
import pytest

from promptforge import catalog
from promptforge.records import content_id, digest_of
from promptforge.schema import arrow_schema
from promptforge.scorers import likeness
from promptforge.stages import lookalikes
from promptforge.stages.lookalikes import close_pairs
from promptforge.stages.run import prepare
from promptforge.stages.score import wanted_scores

PLANNED = {"teacher": "canvas", "bucket": 0, "round": 0, "fixed": True}


def by_brute_force(hashes, most):
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    left, right = np.nonzero(np.triu(apart <= most, 1))
    return list(zip(left.tolist(), right.tolist(), apart[left, right].tolist(), strict=True))


def pairs_of(hashes, most, **limits):
    left, right, distance, reached = close_pairs(np.asarray(hashes, dtype=np.uint64), most, **limits)
    return list(zip(left.tolist(), right.tolist(), distance.tolist(), strict=True)), reached


def planted(count, seed, far=9):
    """Random hashes, every third of which is an earlier one with 0 to `far` bits turned."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for place in range(3, count, 3):
        turned = sum(1 << int(bit) for bit in rng.choice(64, int(rng.integers(0, far + 1)), replace=False))
        hashes[place] = hashes[int(rng.integers(0, place))] ^ np.uint64(turned)
    return hashes


@pytest.mark.parametrize("most", [0, 1, 3, 4, 6, 8, 11])
def test_every_pair_of_2000_hashes_is_found_and_no_other(most):
    hashes = planted(2000, seed=most, far=13)
    wanted = by_brute_force(hashes, most)
    assert pairs_of(hashes, most) == (wanted, most)
    assert len(wanted) > 40


def test_hashes_that_share_most_bits_are_told_apart():
    # Drawings on one ground: 52 bits are the same in all, so every band's buckets are crowded.
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**12, 2000, dtype=np.uint64) | np.uint64(0xABCD_1234_5678_9000)
    assert pairs_of(hashes, 2, crowd=2000)[0] == by_brute_force(hashes, 2)


def test_six_bits_spread_over_the_bands_in_any_way_are_found():
    rng = np.random.default_rng(2)
    for _ in range(200):
        one = int(rng.integers(0, 2**64, dtype=np.uint64))
        other = one ^ sum(1 << int(bit) for bit in rng.choice(64, 6, replace=False))
        assert pairs_of([one, other], 6)[0] == [(0, 1, 6)]
        assert pairs_of([one, other], 5)[0] == []


def test_none_and_one_have_no_pairs():
    assert pairs_of([], 6) == ([], 6)
    assert pairs_of([5], 6) == ([], 6)


def test_a_crowd_is_paired_with_its_first_alone():
    # Five equal hashes at places 0 to 4 and one a bit away; of the crowd the first three are compared in full.
    pairs, _ = pairs_of([7, 7, 7, 7, 7, 5], 6, crowd=3)
    assert pairs == [(0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 4, 0), (0, 5, 1), (1, 2, 0), (1, 5, 1), (2, 5, 1)]


def test_beyond_the_ceiling_the_farthest_pairs_are_left_out():
    hashes = planted(3000, seed=9)
    wanted = by_brute_force(hashes, 6)
    counts = np.cumsum(np.bincount([distance for *_, distance in wanted]))
    pairs, reached = pairs_of(hashes, 6, ceiling=int(counts[4]) + 1)
    assert reached == 4
    assert pairs == [pair for pair in wanted if pair[2] <= 4]


@pytest.fixture
def run(tmp_path):
    """A run whose scorer makes hashes; its commits are made by hand."""
    (tmp_path / "mine.txt").write_text("a cat\n")
    raw = {
        "name": "alike",
        "sources": [{"kind": "files", "paths": [str(tmp_path / "mine.txt")], "name": "mine", "axis": "image_quality"}],
        "regime": {"teacher": "canvas"},
        "scorers": {"technical": {}, "likeness": {"embedding": True}},
    }
    return prepare(tmp_path / "run", raw, "test")


def committed(run, stage, tables):
    arrow = {
        name: pa.Table.from_pylist(
            [{**dict.fromkeys(arrow_schema(name).names), **row} for row in rows], schema=arrow_schema(name)
        )
        for name, rows in tables.items()
    }
    return run.store.commit(stage, "all", digest_of([stage, tables]), arrow, {})


def commits_of(run, pictures):
    """Commits in which picture n is of prompt `prompt`, with `phash` and `vector`; the last one is out of force."""
    prompts = sorted({each["prompt"] for each in pictures})
    names = {prompt: content_id("prompt", prompt) for prompt in prompts}
    ids = [content_id("image", number) for number in range(len(pictures))]
    text = committed(
        run,
        "generate",
        {
            "prompts": [
                {
                    "row_id": content_id("row", prompt),
                    "source": "mine",
                    "source_part": "mine.txt",
                    "source_row": number,
                    "stream_order": number,
                    "licence": "CC0-1.0",
                    "text": prompt,
                    "text_clean": prompt,
                    "prompt_id": names[prompt],
                    "fold_key": names[prompt],
                    "repairs": [],
                    "axis": "image_quality",
                    "expected_text": [],
                }
                for number, prompt in enumerate(prompts)
            ]
        },
    )
    where = [
        {"image_id": name, "prompt_id": names[each["prompt"]], "take": number, "seed": 0}
        for number, (name, each) in enumerate(zip(ids, pictures, strict=True))
    ]
    plan = committed(
        run,
        "plan",
        {"render_plan": [{**row, **PLANNED} for row in where]},
    )
    drawn = {"teacher": "canvas", "regime": "{}", "licence": "CC0-1.0", "provenance": "{}", "sha256": "0" * 64}
    render = committed(run, "render", {"images": [{**row, **drawn} for row in where]})
    (part,) = [part for part in run.parts.scorers if part.name == "likeness"]
    with catalog.connect(run.store, [text, plan, render]) as con:
        digest = dict(con.sql(f"SELECT image_id, digest FROM ({wanted_scores([part])})").fetchall())
    scores = [
        {"image_id": name, "scorer": "likeness", "digest": digest[name], "metric": metric, "detail": detail}
        for name, each in zip(ids, pictures, strict=True)
        for metric, detail in (("phash", each["phash"]), ("embedding", encoded(each["vector"])))
    ]
    stale = [{**row, "digest": "f" * 32, "detail": "00000000000000ff"} for row in scores if row["metric"] == "phash"]
    return [text, plan, render, committed(run, "score", {"scores": scores + stale})], ids


def encoded(vector):
    return None if vector is None else base64.b64encode(np.asarray(vector, dtype="<f2").tobytes()).decode()


PICTURES = [
    {"prompt": "a cat", "phash": "00000000000000ff", "vector": [0.6, 0.8]},
    {"prompt": "a cat", "phash": "00000000000000ff", "vector": [1, 0]},
    {"prompt": "a dog", "phash": "000000000000000f", "vector": [0, 1]},
    {"prompt": "a dog", "phash": None, "vector": [0, 1]},  # flat: no hash
    {"prompt": "a hat", "phash": "ffffffff00000000", "vector": [0, -1]},
    {"prompt": "a man", "phash": "0000000000000fff", "vector": None},
]


def test_the_table_holds_the_pairs_with_distance_and_cosine(run):
    commits, ids = commits_of(run, PICTURES)
    tables, counts = lookalikes.unit(run, commits).make()
    found = {
        frozenset((ids.index(row["image_id"]), ids.index(row["other_id"]))): (
            row["same_prompt"],
            row["hamming"],
            row["cosine"],
        )
        for row in tables["lookalikes"].to_pylist()
    }
    # ff and 0f differ in 4 bits, ff and fff in 4, 0f and fff in 8. Cosines: (0.6, 0.8).(1, 0) = 0.6,
    # (0.6, 0.8).(0, 1) = 0.8, (1, 0).(0, 1) = 0; float16 moves the first two by less than 1e-3.
    assert found == {
        frozenset((0, 1)): (True, 0, pytest.approx(0.6, abs=1e-3)),
        frozenset((0, 2)): (False, 4, pytest.approx(0.8, abs=1e-3)),
        frozenset((1, 2)): (False, 4, 0),
        frozenset((0, 5)): (False, 4, None),
        frozenset((1, 5)): (False, 4, None),
    }
    assert counts == {"pairs": 5, "hamming": 6}


def test_the_table_is_committed_and_meets_its_definition(run):
    commits, _ = commits_of(run, PICTURES)
    commit, _ = run.work(lookalikes.unit(run, commits))
    with catalog.connect(run.store, [*commits, commit]) as con:
        rows = con.sql("SELECT * FROM lookalikes").fetchall()
    assert rows == sorted(rows)
    assert len(rows) == 5
    assert run.work(lookalikes.unit(run, commits))[1].skipped == 1


def test_the_unit_is_made_again_when_a_hash_changes_and_only_then(run):
    first = lookalikes.unit(run, commits_of(run, PICTURES)[0]).digest
    assert lookalikes.unit(run, commits_of(run, PICTURES)[0]).digest == first
    other = [*PICTURES[:-1], {**PICTURES[-1], "phash": "000000000000ffff"}]
    assert lookalikes.unit(run, commits_of(run, other)[0]).digest != first


def test_pictures_without_hashes_make_an_empty_table(run):
    commits, _ = commits_of(run, [{**each, "phash": None} for each in PICTURES])
    tables, counts = lookalikes.unit(run, commits).make()
    assert tables["lookalikes"].num_rows == 0
    assert tables["lookalikes"].schema.equals(arrow_schema("lookalikes"))
    assert counts == {"pairs": 0, "hamming": 6}


def test_hashes_of_real_copies_meet(run):
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = np.kron(coarse, np.ones((32, 32, 1), dtype=np.uint8))
    copies = [pixels, np.ascontiguousarray(pixels[::2, ::2]), np.ascontiguousarray(255 - pixels)]
    pictures = [{"prompt": f"p{n}", "phash": likeness.phash(each), "vector": None} for n, each in enumerate(copies)]
    commits, ids = commits_of(run, pictures)
    (row,) = lookalikes.unit(run, commits).make()[0]["lookalikes"].to_pylist()
    assert {row["image_id"], row["other_id"]} == set(ids[:2])
