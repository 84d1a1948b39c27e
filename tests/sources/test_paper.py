"""The recipe `paper` on the real sets: every row one fate, complex_train once, no word of the test set in train."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, recipe
from promptforge.errors import EnvironmentFault, SourceFault
from promptforge.lock import Lock
from promptforge.stages import parts, pipeline
from promptforge.stages.run import prepare
from promptforge.store import Store

# Of 700 a category and 49,996 with text: the suite's share of the machine is small.
N_BENCH = 120
N_COMMONTEXT = 1500


def rows(path: Path, where: str = "true") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = duckdb.sql(f"SELECT * FROM '{path}' WHERE {where}").to_arrow_table().to_pylist()
    return found


def lines(path: Path, prompts: Iterable[str]) -> None:
    path.write_text("".join(f"{prompt}\n" for prompt in prompts), "utf-8")


def release(folder: Path, data: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The files as the release has them; the prompts of each CompBench file and the strings of the test set."""
    train = rows(data / "t2i_compbench.parquet", "split = 'train'")
    files: dict[str, list[str]] = {}
    for row in train:
        whole = files.setdefault(f"{row['category']}_train.txt", [])
        if len(whole) == N_BENCH:
            continue
        whole.append(row["prompt"])
        if row["category"] == "complex":  # the parts stand beside the whole
            files.setdefault(f"complex_train_{row['sub_split']}.txt", []).append(row["prompt"])
    bench = folder / "T2I-CompBench" / "examples" / "dataset"
    bench.mkdir(parents=True)
    (folder / "data").mkdir()
    for name, prompts in files.items():
        lines(bench / name, prompts)
    lines(bench / "color_val.txt", ["a val prompt that must not be read"])
    text = rows(data / "distillt5_commontext_train.parquet")[:N_COMMONTEXT]
    test = rows(data / "distillt5_commontext_test.parquet")
    natural = rows(data / "laion_alttext.parquet")[:500]
    for name, items in (("CommonText_Train", text), ("CommonText_Test", test), ("laion_6.5", natural)):
        (folder / "data" / f"{name}.json").write_text(json.dumps([item["prompt"] for item in items]), "utf-8")
    return files, [string for item in test for string in item["expected_text"]]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, eval_data: Path
) -> tuple[Path, dict[str, list[str]], list[str], list[str]]:
    """A finished run of the recipe in a folder laid out as the release, and what went in."""
    folder = tmp_path_factory.mktemp("release")
    files, test = release(folder, eval_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        root = folder / "run"
        prepare(root, recipe.read("paper"), "test")
        with Lock(root) as lock:
            Store(root).sweep()
            pipeline.make_all(root, lock.epoch)
    text = json.loads((folder / "data" / "CommonText_Train.json").read_text())
    return root, files, test, text


Made = tuple[Path, dict[str, list[str]], list[str], list[str]]


def query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        return con.sql(sql).fetchall()


def test_every_row_has_one_fate_and_no_file_of_val_is_read(made: Made) -> None:
    root, files, _, text = made
    # Eight categories, and complex once more in its parts.
    assert sum(map(len, files.values())) == 9 * N_BENCH
    counts = dict(query(root, "SELECT source, count(*) FROM prompts GROUP BY 1"))
    assert counts == {"laion_aesthetics": 500, "t2i_compbench": 9 * N_BENCH, "commontext": len(text)}
    ((n_rows, n_distinct),) = query(root, "SELECT count(*), count(DISTINCT row_id) FROM fates")
    assert n_rows == n_distinct == sum(counts.values())
    assert query(root, "SELECT count(*) FROM fates WHERE fate = 'undecided'") == [(0,)]


def plain(text: str) -> str:
    """Letters and digits of a text in lower case: an independent notion of the same prompt."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def test_complex_train_counts_once(made: Made) -> None:
    root, files, _, _ = made
    whole = {plain(prompt) for prompt in files["complex_train.txt"]}
    kept = query(
        root,
        "SELECT text_clean FROM prompts JOIN fates USING (row_id) WHERE fate = 'accepted'"
        " AND prompts.source_part LIKE 'complex_train%'",
    )
    seen = [plain(text) for (text,) in kept]
    assert len(seen) == len(set(seen))
    assert set(seen) <= whole
    dropped = query(
        root,
        "SELECT reason, count(*) FROM rejects WHERE source_part LIKE 'complex_train%' GROUP BY 1",
    )
    # Each row stands twice, and the first to come is kept.
    assert sum(count for _, count in dropped) == 2 * N_BENCH - len(seen)
    assert dict(dropped)["exact_duplicate"] >= N_BENCH


def test_no_word_of_the_test_set_is_trained_on(made: Made) -> None:
    root, _, test, text = made
    folder = root / "dataset"
    shards = sorted(folder.rglob("train-*.parquet"))
    assert shards
    published = [row for path in shards for row in pq.read_table(path, columns=["text", "axis"]).to_pylist()]
    said = [quoted(row["text"]) for row in published if row["axis"] == "text_rendering"]
    words = {plain(string) for string in test}
    assert len(said) > 0.5 * len(text)
    assert not [string for strings in said for string in strings if plain(string) in words]
    # Dropped were only rows of which a word, a longer string's part or an inflection is in the test set.
    dropped = query(root, "SELECT count(*) FROM rejects WHERE reason = 'test_word'")[0][0]
    exact = sum(any(plain(string) in words for string in quoted(prompt)) for prompt in text)
    assert 0.9 * exact < dropped < 2 * exact  # reserved words of the lexicon went to a test split before


def quoted(prompt: str) -> list[str]:
    """What stands between the first and the last single quote, as the set's templates write it."""
    found = re.search(r"'(.*)'", prompt)
    return [found[1]] if found else []


def test_prompts_are_published_once_each_and_without_line_ends(made: Made) -> None:
    root = made[0]
    texts = [text for path in sorted((root / "dataset").rglob("train-*.parquet")) for text in column(path)]
    assert len(texts) == len(set(texts))
    assert not [text for text in texts if text != text.strip() or "\n" in text]


def column(path: Path) -> list[str]:
    found: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return found


def test_a_path_that_is_missing_is_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checked = recipe.validate(recipe.read("paper"), "paper")
    found = parts.resolve(checked, "paper")
    said = [
        "data/laion_6.5.json: no such file or folder",
        "no file there has such a name",
        "CommonText_Train.json: no such",
    ]
    for part, message in zip(found.sources, said, strict=True):
        with pytest.raises(SourceFault, match=re.escape(message)):
            parts.build_source(part, 7).parts()
    with pytest.raises(EnvironmentFault, match=r"CommonText_Test.json: no such file.*check filters.split.test_prompts"):
        found.resolved()
