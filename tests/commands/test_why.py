"""why on clusters and benchmark hits: what it prints, in full."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, records
from promptforge.commands.lookup import why
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.run import prepare

FOX = "a red fox asleep in the snow"
ROWS = [
    FOX,
    f"photo of {FOX}, highly detailed, 8k",  # 1: near 0
    f"{FOX.upper()}!",  # 2: equal to 0
    "in the snow a red fox asleep",  # 3: says what 0 says
    "a brown dog on a sofa",  # 4: accepted in list.txt
    "a wooden lighthouse on a grassy hill, oil on canvas",  # 5: a benchmark's, with style behind it
    *(f"{FOX}, {style}" for style in ("bokeh", "4k", "hdr", "sharp focus")),  # 6 to 9: near 0
]
VECTORS = {ROWS[0]: [1.0, 0.0], ROWS[3]: [0.96, 0.28], ROWS[5]: [0.0, 1.0]}  # 0.96^2 + 0.28^2 = 1


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    (folder / "own.txt").write_text("\n".join(ROWS) + "\n", "utf-8")
    (folder / "list.txt").write_text("a brown dog on the sofa!\n", "utf-8")
    (folder / "bench.txt").write_text("a lamp\na wooden lighthouse on a grassy hill\n", "utf-8")
    columns = {"text": list(VECTORS), "vector": pa.array(VECTORS.values(), pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), folder / "vectors.parquet")
    bench = {"name": "bench", "path": str(folder / "bench.txt")}
    raw = {
        "name": "why",
        "sources": [{"kind": "files", "paths": [str(folder / "own.txt")], "axis": "semantic_understanding"}],
        "dedup": {
            "against": [str(folder / "list.txt")],
            "semantic": {"vectors": str(folder / "vectors.parquet"), "threshold": 0.95},
        },
        "decontaminate": {"benchmarks": [bench, bench | {"name": "other", "action": {"contained": "flag"}}]},
        "regime": {"teacher": "canvas", "size": 128},
    }
    run = folder / "run"
    prepare(run, raw, "test")
    with Lock(run) as lock:
        for shard in range(pipeline.text_shards(run)):
            pipeline.make_text(run, shard)
        pipeline.make_dedup(run)
        pipeline.make_decontaminate(run)
        pipeline.advance(run, lock.epoch, "dedup")
    return run


@pytest.fixture
def told(root: Path, capsys: pytest.CaptureFixture[str]):
    """What why prints of the row of this number, and the row_ids by number."""
    with catalog.open_run(root) as con:
        ids = [name for (name,) in con.sql("SELECT row_id FROM prompts ORDER BY source_row").fetchall()]

    def tell(row: int) -> tuple[list[str], list[str]]:
        why(root, ids[row])
        return capsys.readouterr().out.splitlines(), ids

    return tell


def test_a_near_duplicate_names_the_survivor_its_place_and_the_similarity(told) -> None:
    lines, ids = told(1)
    assert "fate       dropped: dedup, near_duplicate" in lines
    assert (
        f"verdict    dedup/near_duplicate: drop, similarity 1 against 0.8, duplicate of {ids[0]} (own.txt, row 0:"
        f" {FOX}), which is undecided" in lines
    )


def test_a_semantic_duplicate_names_its_cosine(told) -> None:
    lines, ids = told(3)
    assert (
        f"verdict    dedup/semantic_duplicate: drop, cosine 0.96 against 0.95, duplicate of {ids[0]} (own.txt, row 0:"
        f" {FOX}), which is undecided" in lines
    )


def test_a_duplicate_of_what_is_accepted_elsewhere_names_its_place_there(told) -> None:
    lines, _ = told(4)
    text = "a brown dog on the sofa!"
    assert (
        "verdict    dedup/near_duplicate: drop, similarity 1 against 0.8, duplicate of what is accepted in list.txt"
        f" row 0: {records.prompt_id(text)} ({text})" in lines
    )


def test_a_survivor_tells_how_many_it_dropped_and_names_the_first_five(told) -> None:
    lines, ids = told(0)
    at = lines.index(
        "cluster    7 rows were dropped for this one: 1 exact_duplicate, 5 near_duplicate, 1 semantic_duplicate"
    )
    assert lines[at + 1] == f"           {ids[1]} near_duplicate 1 (own.txt, row 1: {ROWS[1]})"
    assert lines[at + 2] == f"           {ids[2]} exact_duplicate (own.txt, row 2: {ROWS[2]})"
    assert [line.split()[0] for line in lines[at + 1 : at + 6]] == [ids[row] for row in (1, 2, 3, 6, 7)]
    assert lines[at + 6].startswith(f"           and 2 more: select row_id from verdicts where detail = '{ids[0]}'")


def test_every_benchmark_hit_is_told_and_not_the_strongest_alone(told) -> None:
    lines, _ = told(5)
    assert "fate       dropped: decontaminate, contaminated" in lines
    copied = records.prompt_id("a wooden lighthouse on a grassy hill")
    hits = [line.partition(" 0.") for line in lines if line.startswith("benchmark  ")]
    assert [(first, rest.partition(", ")[2]) for first, _, rest in hits] == [
        (f"benchmark  bench, bench.txt, row 1 (prompt {copied}): contained", "drops it"),
        (f"benchmark  other, bench.txt, row 1 (prompt {copied}): contained", "only flagged"),
    ]


def test_nothing_of_a_withheld_row_is_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As if a row of the cluster had been withheld after all: a list of its survivor shows no word of it.
    from promptforge.commands import clusters

    with catalog.open_run(root) as con:
        (first, second) = [
            name for (name,) in con.sql("SELECT row_id FROM prompts ORDER BY source_row LIMIT 2").fetchall()
        ]
        con.execute("DROP VIEW withheld")
        con.execute(f"CREATE TABLE withheld AS SELECT '{second}' AS row_id, 'unsafe_sexual_minors' AS reason")
        lines = list(clusters.dropped_for(con, first))
    assert f"           {second} near_duplicate 1 (own.txt, row 1: text withheld)" in lines
