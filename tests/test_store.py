"""The store: a record is the proof, files are immutable, and nothing half done is taken for data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge import files, schema, store
from promptforge.errors import LockedError, SchemaFault, StoreFault
from promptforge.lock import Lock
from promptforge.store import Commit, Store, column_digests

DIGEST = "d" * 64
NESTED = st.none() | st.lists(st.none() | st.sampled_from(["", "a", "b", "ab"]), max_size=3)


def cost(*seconds: float, stage: str = "render") -> pa.Table:
    """A small valid table."""
    rows = [{"epoch": 1, "stage": stage, "n_rows": n, "seconds": s} for n, s in enumerate(seconds)]
    return pa.Table.from_pylist(rows, schema=schema.arrow_schema("cost"))


def tree(root: Path) -> list[str]:
    """Every file of a folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_commit_is_found_by_its_digest_and_read_back(tmp_path: Path) -> None:
    made = Store(tmp_path).commit("render", "b00001", DIGEST, {"cost": cost(1.0, 2.5)}, {"images": 2})
    assert made.key == "render/b00001-dddddddddddddddd"
    found = Store(tmp_path).committed("render", "b00001", DIGEST)
    assert found == made
    assert found.counts == {"images": 2}
    item = found.file("cost")
    assert item is not None and found.file("images") is None
    assert (item.rows, item.sha256) == (2, files.sha256_file(tmp_path / item.name))
    assert item.name == f"cost/render-b00001-{item.sha256[:16]}.parquet"
    table = Store(tmp_path).read(item)
    assert table["seconds"].to_pylist() == [1.0, 2.5]
    assert table.schema.metadata[b"promptforge.table"] == b"cost/1"
    assert Store(tmp_path).read(item, ["stage"]).column_names == ["stage"]


def test_a_table_without_rows_is_a_file_too(tmp_path: Path) -> None:
    item = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost()}).file("cost")
    assert item is not None
    assert Store(tmp_path).read(item).num_rows == 0


def test_the_same_rows_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import pyarrow as pa; from promptforge.store import Store\n"
        "rows = pa.table({'epoch': pa.array([1], 'int32'), 'stage': ['render'], 'n_rows': [0], 'seconds': [1.0]})\n"
        "print(Store(Path(sys.argv[1])).commit('render', 'a', 'd' * 64, {'cost': rows}).files[0].sha256)\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")], capture_output=True, text=True, check=True
    )
    mine = Store(tmp_path / "a").commit("render", "a", DIGEST, {"cost": cost(1.0)}).files[0]
    assert other.stdout.strip() == mine.sha256


def test_a_data_file_without_a_record_is_not_done(tmp_path: Path) -> None:
    made = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    (tmp_path / "_commits" / f"{made.key}.json").unlink()
    assert Store(tmp_path).committed("render", "a", DIGEST) is None
    assert Store(tmp_path).all_commits() == []
    assert Store(tmp_path).sweep() == 1
    assert tree(tmp_path) == []


@pytest.mark.parametrize("call", range(1, 5))
def test_an_fsync_that_fails_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The calls: data, its folder, record, its folder. Only after the link to the record is the work done."""
    real, count = os.fsync, 0

    def fail(handle: int) -> None:
        nonlocal count
        count += 1
        if count == call:
            raise OSError(5, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    monkeypatch.undo()
    done = Store(tmp_path).committed("render", "a", DIGEST)
    assert (done is not None) == (call == 4)
    assert not [name for name in tree(tmp_path) if files.TEMPORARY in name]
    if done:
        assert Store(tmp_path).read(done.files[0]).num_rows == 1  # whole, though the caller was told of a failure


def test_an_exception_while_the_table_is_encoded_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(store.pq, "write_table", fail)
    with pytest.raises(MemoryError):
        Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    assert tree(tmp_path) == []


def test_a_table_that_breaks_its_definition_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SchemaFault, match=r"render a: table cost breaks schemas/cost\.sql"):
        Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(-1.0)})
    assert tree(tmp_path) == []


@pytest.mark.parametrize("call", [2, 4, 5, 6])
def test_a_kill_while_committing_leaves_the_work_done_or_to_be_done(tmp_path: Path, call: int) -> None:
    """A SIGKILL before each system call that matters: fsync and rename of the data, fsync and link of the record."""
    code = (
        "import os, signal, sys; from pathlib import Path; import pyarrow as pa; from promptforge.store import Store\n"
        "count = 0\n"
        "def deadly(real):\n"
        "    def call(*args, **kwargs):\n"
        "        global count\n"
        "        count += 1\n"
        "        if count == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return real(*args, **kwargs)\n"
        "    return call\n"
        "os.fsync, Path.replace, os.link = deadly(os.fsync), deadly(Path.replace), deadly(os.link)\n"
        "rows = pa.table({'epoch': pa.array([1], 'int32'), 'stage': ['render'], 'n_rows': [0], 'seconds': [1.0]})\n"
        "Store(Path(sys.argv[1])).commit('render', 'a', 'd' * 64, {'cost': rows})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(call)], check=False)
    assert killed.returncode == -signal.SIGKILL
    found = Store(tmp_path).committed("render", "a", DIGEST)
    assert (found is None) == (call < 6)  # 6 is the fsync of the record's folder, after the link
    again = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    Store(tmp_path).sweep()
    assert tree(tmp_path) == sorted([f"_commits/{again.key}.json", again.files[0].name])


def test_of_workers_with_the_same_unit_one_makes_the_record(tmp_path: Path) -> None:
    start = threading.Barrier(6)
    made: list[Commit] = []

    def work() -> None:
        start.wait()
        made.append(Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)}))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len({json.dumps(item.files[0].sha256) for item in made}) == 1
    assert tree(tmp_path) == sorted([f"_commits/{made[0].key}.json", made[0].files[0].name])


def test_a_worker_that_comes_second_with_other_bytes_gets_the_first_ones_record(tmp_path: Path) -> None:
    first = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    second = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(2.0)})
    assert second == first
    assert Store(tmp_path).sweep() == 1  # the loser's file, which no record names
    assert Store(tmp_path).read(first.files[0])["seconds"].to_pylist() == [1.0]


def test_two_processes_that_commit_the_same_unit_leave_one_record(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import pyarrow as pa; from promptforge.store import Store\n"
        "rows = pa.table({'epoch': pa.array([1], 'int32'), 'stage': ['render'], 'n_rows': [0], 'seconds': [1.0]})\n"
        "sys.stdin.readline()\n"
        "for n in range(6): Store(Path(sys.argv[1])).commit('render', f's{n}', 'd' * 64, {'cost': rows})\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0]
    assert len(Store(tmp_path).all_commits()) == 6
    assert Store(tmp_path).sweep() == 0
    assert len(tree(tmp_path)) == 12


@pytest.mark.parametrize("offset", [4, 120, -9])
def test_one_changed_bit_is_found_before_a_row_is_used(tmp_path: Path, offset: int) -> None:
    item = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)}).files[0]
    content = bytearray((tmp_path / item.name).read_bytes())
    content[offset] ^= 1
    (tmp_path / item.name).write_bytes(content)
    with pytest.raises(StoreFault, match=rf"{item.name}: sha256 is \w+\.\.\., its record says {item.sha256[:16]}"):
        Store(tmp_path).read(item)


def test_a_file_that_changes_after_it_was_checked_is_checked_again(tmp_path: Path) -> None:
    one = Store(tmp_path)
    item = one.commit("render", "a", DIGEST, {"cost": cost(1.0)}).files[0]
    one.read(item)
    pq.write_table(cost(3.0), tmp_path / item.name)
    with pytest.raises(StoreFault, match="sha256 is"):
        one.read(item)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    item = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)}).files[0]
    (tmp_path / item.name).unlink()
    with pytest.raises(StoreFault, match=rf"{item.name}: missing, though a commit record names it"):
        Store(tmp_path).check(item)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": "render"}', "null"])
def test_a_torn_record_is_named_and_not_taken_for_work(tmp_path: Path, text: str) -> None:
    made = Store(tmp_path).commit("render", "a", DIGEST, {"cost": cost(1.0)})
    (tmp_path / "_commits" / f"{made.key}.json").write_text(text)
    with pytest.raises(StoreFault, match=r"render/a-d{16}\.json: not a commit record"):
        Store(tmp_path).committed("render", "a", DIGEST)


def test_two_digests_that_share_their_first_half_are_told_apart(tmp_path: Path) -> None:
    Store(tmp_path).commit("render", "a", "d" * 16 + "0" * 48, {"cost": cost(1.0)})
    with pytest.raises(StoreFault, match="share the first 16 digits"):
        Store(tmp_path).committed("render", "a", DIGEST)


def test_the_records_of_a_stage_are_listed_once_and_not_for_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 records took 14 s when each looked through the folder for its own revisions."""
    store = Store(tmp_path)
    made = [store.commit("render", f"b{n}", str(n) * 64, {"cost": cost(1.0)}) for n in range(5)]
    newer = store.rewrite(made[3], {"cost": cost(2.0)})
    real, listed = Path.glob, []
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listed.append(pattern) or real(self, pattern))
    assert store.commits("render") == [*made[:3], newer, made[4]]
    assert listed == ["*.json"]


def test_a_head_puts_commits_in_force_and_saying_the_same_makes_no_new_one(tmp_path: Path) -> None:
    one = Store(tmp_path)
    assert one.head() is None
    made = [one.commit("render", name, DIGEST, {"cost": cost(1.0)}) for name in ("b", "a", "c")]
    with Lock(tmp_path) as lock:
        head = one.new_head(lock.epoch, {"name": "x"}, {"render": [made[0].key, made[1].key]})
        assert (head.number, head.epoch) == (1, 1)
        assert one.new_head(lock.epoch, {"name": "x"}, {"render": [made[1].key, made[0].key]}) == head
        assert one.new_head(lock.epoch, {"name": "y"}, {"render": [made[1].key]}).number == 2
    assert [path.name for path in sorted((tmp_path / "heads").iterdir())] == ["000001.json", "000002.json"]
    assert one.head().number == 2
    assert one.in_force(head) == [made[1], made[0]]  # sorted by key, whatever the order given


def test_a_head_whose_record_is_gone_is_refused(tmp_path: Path) -> None:
    one = Store(tmp_path)
    with Lock(tmp_path) as lock:
        head = one.new_head(lock.epoch, {}, {"render": ["render/a-0123456789abcdef"]})
    with pytest.raises(StoreFault, match="head 1 names render/a-0123456789abcdef, and there is no such record"):
        one.in_force(head)


def test_a_torn_head_is_named(tmp_path: Path) -> None:
    files.put(tmp_path / "heads" / "000007.json", b'{"number": 7')
    with pytest.raises(StoreFault, match=r"000007\.json: not a head"):
        Store(tmp_path).head()


def test_a_run_that_was_taken_over_makes_no_head(tmp_path: Path) -> None:
    one = Store(tmp_path)
    made = one.commit("render", "a", DIGEST, {"cost": cost(1.0)})
    with Lock(tmp_path) as first:
        pass
    with Lock(tmp_path), pytest.raises(LockedError, match="run 1 was taken over by run 2"):
        one.new_head(first.epoch, {}, {"render": [made.key]})
    assert one.head() is None


def test_a_rewrite_counts_as_done_under_the_old_digest_and_the_old_rows_are_gone(tmp_path: Path) -> None:
    one = Store(tmp_path)
    old = one.commit("render", "a", DIGEST, {"cost": cost(1.0, 2.0)}, {"images": 2})
    new = one.rewrite(old, {"cost": cost(1.0)})
    assert (new.revision, new.key, new.counts) == (1, old.key, old.counts)
    assert one.committed("render", "a", DIGEST) == new
    assert one.commit("render", "a", DIGEST, {"cost": cost(1.0, 2.0)}) == new  # a late worker brings nothing back
    third = one.rewrite(new, {"cost": cost()})
    assert one.commits("render") == [third]
    one.sweep()
    assert tree(tmp_path) == sorted([f"_commits/{old.key}.r2.json", third.files[0].name])


def test_a_rewrite_that_changes_nothing_keeps_the_file(tmp_path: Path) -> None:
    one = Store(tmp_path)
    old = one.commit("render", "a", DIGEST, {"cost": cost(1.0)})
    assert one.read(one.rewrite(old, {"cost": cost(1.0)}).files[0]).num_rows == 1


def test_a_rewrite_leaves_a_file_that_another_record_names_too(tmp_path: Path) -> None:
    """Equal output under two digests is one file, since a file is named by its content."""
    one = Store(tmp_path)
    left = one.commit("render", "a", "1" * 64, {"cost": cost(1.0)})
    right = one.commit("render", "a", "2" * 64, {"cost": cost(1.0)})
    assert left.files == right.files
    one.rewrite(left, {"cost": cost()})
    assert one.read(right.files[0]).num_rows == 1
    one.rewrite(right, {"cost": cost()})
    assert not (tmp_path / right.files[0].name).exists()


def test_a_killed_rewrite_shows_the_new_revision_and_the_sweep_removes_the_old(tmp_path: Path) -> None:
    """Killed after the new record and before the old one's removal."""
    one = Store(tmp_path)
    old = one.commit("render", "a", DIGEST, {"cost": cost(1.0, 2.0)})
    before = {name: (tmp_path / name).read_bytes() for name in tree(tmp_path)}
    new = one.rewrite(old, {"cost": cost(1.0)})
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    assert one.load(old.key) == new
    assert one.sweep() == 2
    assert tree(tmp_path) == sorted([f"_commits/{old.key}.r1.json", new.files[0].name])


def test_the_sweep_leaves_what_is_no_ones_business(tmp_path: Path) -> None:
    one = Store(tmp_path)
    made = one.commit("render", "a", DIGEST, {"cost": cost(1.0)})
    files.put(tmp_path / "dataset" / "data" / "train-0.parquet", b"published")
    files.put(tmp_path / "notes.txt", b"mine")
    files.put(tmp_path / "prompts" / "mine.parquet", b"the run folder is also where my prompts are")
    files.put(tmp_path / "cost" / ".tmp-0123", b"half")
    files.put(tmp_path / ".tmp-duckdb" / "duckdb_temp_storage-0.tmp", b"rows that a killed query had no memory for")
    assert one.sweep() == 2
    assert tree(tmp_path) == sorted(
        [
            f"_commits/{made.key}.json",
            made.files[0].name,
            "dataset/data/train-0.parquet",
            "notes.txt",
            "prompts/mine.parquet",
        ]
    )


def test_a_column_digest_tells_values_apart_and_not_how_they_are_chunked() -> None:
    whole = pa.table({"a": ["x", "y", None], "b": [1, 2, 3]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert column_digests(pieces) == column_digests(whole)
    other = column_digests(pa.table({"a": ["x", "y", ""], "b": [1, 2, 3]}))
    assert other["a"] != column_digests(whole)["a"]
    assert other["b"] == column_digests(whole)["b"]


def test_what_lies_under_a_null_or_beyond_a_slice_is_no_value() -> None:
    hidden = pa.Array.from_buffers(pa.float64(), 3, [pa.py_buffer(b"\x05"), pa.array([1.0, 99.0, 3.0]).buffers()[1]])
    assert hidden.to_pylist() == [1.0, None, 3.0]
    assert column_digests(pa.table({"a": hidden})) == column_digests(pa.table({"a": [1.0, None, 3.0]}))
    lists = pa.array([["no"], ["x", None], None, []])
    assert column_digests(pa.table({"a": lists.slice(1)})) == column_digests(pa.table({"a": [["x", None], None, []]}))
    flags = pa.array([True, False, True, True, None])
    assert column_digests(pa.table({"a": flags.slice(0, 2)})) == column_digests(pa.table({"a": [True, False]}))


@settings(derandomize=True, max_examples=200)
@given(st.lists(NESTED, max_size=4), st.lists(NESTED, max_size=4))
def test_two_columns_share_a_digest_only_where_they_are_equal(left, right) -> None:
    kind = pa.list_(pa.string())
    digests = [column_digests(pa.table({"a": pa.array(rows, kind)})) for rows in (left, right)]
    assert (digests[0] == digests[1]) == (left == right)


def test_a_damaged_tombstone_is_not_to_be_thrown_away(tmp_path: Path) -> None:
    """Without its record the purged text would come back."""
    row = {"prompt_id": "a" * 32, "fold_key": "b" * 32, "reason": "takedown"}
    table = pa.Table.from_pylist([row], schema=schema.arrow_schema("tombstones"))
    item = Store(tmp_path).commit("purge", "a", "0" * 64, {"tombstones": table}).files[0]
    (tmp_path / item.name).write_bytes(b"x")
    with pytest.raises(StoreFault, match="no run makes it again") as caught:
        Store(tmp_path).check(item)
    assert "remove its record" not in str(caught.value)
