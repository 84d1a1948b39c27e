"""Prompts from files: every row once, bad rows as faults, bad files by name before any work."""

import hashlib
import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from promptforge.errors import SourceFault
from promptforge.sources import files
from promptforge.sources.readers import columns, lines, rows

DATA = Path(os.environ.get("PROMPTFORGE_EVAL_DATA") or Path(__file__).parents[3] / "shared" / "data")

HOSTILE = [
    "<script>alert('x')</script> a cat",
    "'; DROP TABLE prompts; --",
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\x1b[31ma red terminal\x1b[0m",
    "\u202ea mirrored car",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 at the beach",
    "شجرة بجانب نهر",
    "a cat, a dog; \"quoted\" and 'single'",
    "一只红色的猫",
]


def source(*paths, **params):
    return files.build(files.Params(paths=tuple(str(path) for path in paths), **params), seed=0)


def read(*paths, **params):
    made = source(*paths, **params)
    return [item for part in made.parts() for item in made.read(part, 0, part.n_rows)]


def texts_and_faults(*paths, **params):
    return [item.text if item.fault is None else (item.fault,) for item in read(*paths, **params)]


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


def csv_cell(text):
    return '"' + text.replace('"', '""') + '"'


def in_every_format(folder, prompts):
    write(folder / "a.txt", "".join(f"{prompt}\n" for prompt in prompts))
    write(folder / "b.json", json.dumps(prompts))
    write(folder / "c.jsonl", "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    write(folder / "d.csv", "id,Caption\n" + "".join(f"{n},{csv_cell(p)}\n" for n, p in enumerate(prompts)))
    write(folder / "e.tsv", "text\tid\n" + "".join(f"{csv_cell(p)}\t{n}\n" for n, p in enumerate(prompts)))
    pq.write_table(pa.table({"id": range(len(prompts)), "TEXT": prompts}), folder / "f.parquet", row_group_size=3)
    return sorted(folder.iterdir())


def test_hostile_texts_come_out_of_every_format_as_they_went_in(tmp_path):
    for path in in_every_format(tmp_path, HOSTILE):
        assert [item.text for item in read(path)] == HOSTILE, path.name


@pytest.mark.parametrize("n_rows", [1, 7, 4096, 9000])
def test_any_range_of_rows_is_the_slice_of_all(tmp_path, n_rows):
    prompts = [f"a cat with {n} hats" for n in range(n_rows)]
    for path in in_every_format(tmp_path, prompts):
        made = source(path)
        (part,) = made.parts()
        assert part.n_rows == n_rows
        for start, stop in [(0, n_rows), (0, 1), (n_rows - 1, n_rows), (n_rows // 2, n_rows), (n_rows, n_rows)]:
            found = list(made.read(part, start, stop))
            assert [item.text for item in found] == prompts[start:stop]
            assert [item.row for item in found] == list(range(start, stop))


def test_a_part_is_named_by_its_file_alone_and_by_its_sha256(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one" / "a.txt", "a cat\n")
    write(tmp_path / "two" / "a.txt", "a dog\n")
    write(tmp_path / "one" / "notes.md", "not a prompt")
    write(tmp_path / "one" / ".hidden.txt", "not a prompt")
    parts = source(tmp_path / "one", tmp_path / "two").parts()
    assert [part.label for part in parts] == ["a.txt", "a.txt (2)"]
    assert parts[0].digest == hashlib.sha256(b"a cat\n").hexdigest()


def test_a_file_name_that_is_not_utf8_can_still_go_into_a_table(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.txt"
    Path(os.fsdecode(path)).write_text("a cat\n")
    assert source(tmp_path).parts()[0].label == "\\xff.txt"


def test_blank_lines_are_rows_but_the_last_line_end_is_not(tmp_path):
    assert texts_and_faults(write(tmp_path / "a.txt", "a cat\n\n \na dog\n")) == [
        "a cat",
        ("empty",),
        ("empty",),
        "a dog",
    ]
    assert texts_and_faults(write(tmp_path / "b.txt", "a cat\r\na dog")) == ["a cat", "a dog"]


def test_bad_lines_of_text_become_faults_that_say_what_and_where(tmp_path):
    path = write(
        tmp_path / "a.txt",
        b"\xef\xbb\xbfa cat\nbad \xff byte\nnul \0 here\n\xed\xa0\x80 surrogate\n" + b"x" * 8001 + b"\n"
        + b"y" * 1_000_000 + b"\n&#8203;&nbsp;\n" + b"z" * 8000 + b"\n",
    )  # fmt: skip
    found = read(path)
    assert [item.fault for item in found] == [
        None,
        "invalid_utf8",
        "nul",
        "invalid_utf8",
        "too_large",
        "too_large",
        "empty",
        None,
    ]
    assert found[0].text == "a cat"  # the byte order mark is gone
    assert found[1].fault_detail == "byte 0xff at byte 4 of the line"
    assert found[5].fault_detail == "1000000 characters, at most 8000 are read"
    assert all(item.text is None for item in found if item.fault)


def test_a_line_over_the_memory_bound_is_skipped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE", 100)
    text = write(tmp_path / "a.txt", "a cat\n" + "x" * 250 + "\n" + "y" * 99 + "\na dog\n")
    assert texts_and_faults(text) == ["a cat", ("too_large",), "y" * 99, "a dog"]
    table = write(tmp_path / "a.csv", "text\na cat\n" + "x" * 250 + "\na dog\n")
    assert texts_and_faults(table) == ["a cat", ("too_large",), "a dog"]


def test_bad_json_lines_become_faults(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        b'{"text": "a cat"}\n{"text": \n"a plain string"\n7\n{"text": 7}\n{"text": null}\n{"other": "x"}\n'
        b'{"text": "lone \\ud800"}\n{"text": "nul \\u0000"}\n{"text": "\xff"}\n\n'
        + b'{"text": ' + b"[" * 100_000 + b"\n" + b'{"text": ' + b"9" * 5000 + b"}\n",
    )  # fmt: skip
    assert texts_and_faults(path) == [
        "a cat",
        ("malformed_json",),
        "a plain string",
        ("not_a_string",),
        ("not_a_string",),
        ("not_a_string",),
        ("not_a_string",),
        ("lone_surrogate",),
        ("nul",),
        ("invalid_utf8",),
        ("empty",),
        ("malformed_json",),
        ("malformed_json",),
    ]


def test_bad_items_of_a_json_list_become_faults(tmp_path):
    path = write(
        tmp_path / "a.json", b'["a cat", 7, null, "\\ud800", "a\\u0000", "", ["x"], "\xff", {"prompt": "a dog"}]'
    )
    assert texts_and_faults(path) == [
        "a cat",
        ("not_a_string",),
        ("not_a_string",),
        ("lone_surrogate",),
        ("nul",),
        ("empty",),
        ("not_a_string",),
        ("invalid_utf8",),
        "a dog",
    ]


def test_a_cell_may_hold_line_ends_and_a_row_with_too_many_cells_is_a_fault(tmp_path):
    path = write(
        tmp_path / "a.csv",
        b'text,id\r\n"a cat\r\non a mat",1\r\na red car, blue sky,2\r\n"half" quoted,3\r\n'
        b"a dog,4\r\n,5\r\n\xff,6\r\nend,7",
    )
    assert texts_and_faults(path) == [
        "a cat\r\non a mat",
        ("malformed_row",),
        ("malformed_row",),
        "a dog",
        ("empty",),
        ("invalid_utf8",),
        "end",
    ]


def test_a_csv_cell_may_be_longer_than_the_csv_modules_own_limit(tmp_path):
    path = write(tmp_path / "a.csv", "text,note\na cat," + "x" * 500_000 + "\n")
    assert texts_and_faults(path) == ["a cat"]


def test_a_tsv_without_quoting_keeps_its_quotes(tmp_path):
    path = write(tmp_path / "a.tsv", 'Prompt\tid\n"COFFEE" on a mug\t1\n"a ""big"" cat"\t2\nan open " mark\t3\n')
    assert texts_and_faults(path) == ['"COFFEE" on a mug', 'a "big" cat', 'an open " mark']


def test_a_tsv_with_tabs_inside_quotes_is_read_by_the_rules_of_csv(tmp_path):
    path = write(tmp_path / "a.tsv", 'text\tid\n"a\tcat\non a mat"\t1\n')
    assert texts_and_faults(path) == ["a\tcat\non a mat"]


def test_bad_values_of_a_parquet_column_become_faults(tmp_path):
    values = pa.array([b"a cat", b"\xff", None, b"a\0", b"x" * 9000]).view(pa.string())
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    assert texts_and_faults(tmp_path / "a.parquet") == [
        "a cat",
        ("invalid_utf8",),
        ("not_a_string",),
        ("nul",),
        ("too_large",),
    ]


def test_mapped_columns_reach_the_candidate(tmp_path):
    row = {
        "p": "a mug that says 'tea'",
        "ax": "text_rendering",
        "cat": "mug",
        "want": ["tea"],
        "pair": 7,
        "by": "f" * 32,
        "look": "photo",
        "score": 6.5,
    }
    names = dict(
        zip(columns.MappedField.__args__, ["p", "ax", "cat", "want", "pair", "by", "look", "score"], strict=True)
    )
    write(tmp_path / "a.jsonl", json.dumps(row) + "\n" + json.dumps({"p": "a cat"}) + "\n")
    full, bare = read(tmp_path / "a.jsonl", columns=names, axis="image_quality")
    assert (full.text, full.axis, full.category, full.expected_text) == (row["p"], "text_rendering", "mug", ("tea",))
    assert (full.pair_id, full.parent_id, full.style, full.source_aesthetic) == ("7", "f" * 32, "photo", 6.5)
    assert (bare.axis, bare.expected_text, bare.pair_id, bare.source_aesthetic) == ("image_quality", None, None, None)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("tea", ("tea",)), ('["tea", "milk"]', ("tea", "milk")), ("[]", ()), ("", None), ("[draft", ("[draft",))],
)
def test_expected_text_in_a_cell_is_a_list_or_a_plain_string(tmp_path, cell, expected):
    write(tmp_path / "a.csv", f"text,want\na mug,{csv_cell(cell)}\n")
    (found,) = read(tmp_path / "a.csv", columns={"expected_text": "want"})
    assert found.expected_text == expected


def test_bad_values_of_mapped_columns_become_faults_with_the_value(tmp_path):
    write(
        tmp_path / "a.jsonl",
        '{"text":"a","ax":"fun\\u001b","s":"6"}\n{"text":"b","s":"nan"}\n{"text":"c","e":[1]}\n'
        '{"text":"d","e":["\\ud800"]}\n',
    )
    found = read(tmp_path / "a.jsonl", columns={"axis": "ax", "source_aesthetic": "s", "expected_text": "e"})
    assert [item.fault for item in found] == ["bad_axis", "bad_number", "bad_expected_text", "lone_surrogate"]
    assert r"'fun\\x1b'" in found[0].fault_detail
    assert "column 's'" in found[1].fault_detail


def test_a_limit_counts_rows_of_all_files_together(tmp_path):
    write(tmp_path / "a.txt", "1\n2\n3\n")
    write(tmp_path / "b.txt", "4\n5\n6\n")
    assert texts_and_faults(tmp_path, limit=4) == ["1", "2", "3", "4"]


def unusable(folder):
    parquet = folder / "whole.parquet"
    pq.write_table(pa.table({"text": ["a cat"]}), parquet)
    return {
        "no such file": folder / "missing.txt",
        "unknown kind '.md'": write(folder / "a.md", "a cat"),
        "unknown kind '.gz'": write(folder / "a.txt.gz", b"\x1f\x8b"),
        "iconv -f UTF-16": write(folder / "utf16.txt", "a cat".encode("utf-16")),
        "iconv -f UTF-32": write(folder / "utf32.txt", "a cat".encode("utf-32")),
        "iconv -f UTF-16LE": write(folder / "bare16.txt", "a cat on a mat".encode("utf-16-le")),
        "expected a JSON list of strings or objects": write(
            folder / "a.json", '{"text": "a cat"}\n{"text": "a dog"}\n'
        ),
        "nested too deep": write(folder / "deep.json", "[" * 100_000),
        "is one JSON object": write(folder / "dict.json", '{"text": "a cat"}'),
        "is JSON; expected a string or an object a line": write(folder / "a.jsonl", "a cat\na dog\n"),
        "'title'": write(folder / "a.csv", "title,id\na cat,1\n"),
        "twice": write(folder / "twice.csv", "text,text\na,b\n"),
        "no header": write(folder / "empty.csv", ""),
        "no row": write(folder / "empty.txt", ""),
        "not a Parquet file (no magic bytes at its end)": write(folder / "cut.parquet", parquet.read_bytes()[:-20]),
        "(no magic bytes at its end), or cut off after 0 bytes": write(folder / "empty.parquet", ""),
        "a Parquet file of 12 bytes that cannot be read": write(folder / "hollow.parquet", b"PAR1\0\0\0\0PAR1"),
        "no row in 1 file; expected at least one prompt": write(folder / "empty.jsonl", ""),
    }


def test_a_file_that_cannot_be_used_is_named_before_any_row_is_read(tmp_path):
    for words, path in unusable(tmp_path).items():
        with pytest.raises(SourceFault) as caught:
            source(path).parts()
        assert words in str(caught.value) and path.name in str(caught.value), words


def test_a_folder_without_a_known_kind_is_named(tmp_path):
    write(tmp_path / "a.md", "a cat")
    with pytest.raises(SourceFault, match="without any file of a known kind"):
        source(tmp_path).parts()


def test_a_device_is_no_file():
    with pytest.raises(SourceFault, match="neither a file nor a folder"):
        source("/dev/null").parts()


def test_a_mapped_column_that_no_file_has_is_an_error_with_the_columns_seen(tmp_path):
    write(tmp_path / "a.csv", "text,kind\na cat,1\n")
    with pytest.raises(SourceFault, match=r"'text', 'kind'; columns.axis of the source asks for 'axes'"):
        source(tmp_path / "a.csv", columns={"axis": "axes"}).parts()


def test_a_file_that_changed_since_it_was_checked_is_refused(tmp_path):
    path = write(tmp_path / "a.txt", "a cat\n")
    made = source(path)
    (part,) = made.parts()
    assert [item.text for item in made.read(part, 0, 1)] == ["a cat"]
    write(path, "a dog\n")
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceFault, match=r"a\.txt: changed since the run began"):
        list(made.read(part, 0, 1))
    write(path, "a cat\n")  # the same bytes under a new time are the same file
    assert [item.text for item in made.read(part, 0, 1)] == ["a cat"]
    path.unlink()
    with pytest.raises(SourceFault, match="cannot be read any more"):
        list(made.read(part, 0, 1))


def test_a_parquet_file_with_a_broken_page_is_named_when_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": [f"a cat {n}" for n in range(5000)]}), path, write_page_checksum=True, use_dictionary=False
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    write(path, bytes(data))
    with pytest.raises(SourceFault, match="row group 0 cannot be read"):
        read(path)


@pytest.mark.parametrize(
    "params", [{"paths": ()}, {"paths": ("a",), "limit": 0}, {"paths": ("a",), "columns": {"id": "x"}}]
)
def test_params_are_refused_before_any_work(params):
    with pytest.raises(ValidationError):
        files.Params(**params)


def sets():
    return sorted(path for path in DATA.glob("*") if path.suffix in (".jsonl", ".parquet")) or [None]


@pytest.mark.parametrize("path", sets(), ids=lambda path: path.name if path else "none")
def test_every_row_of_a_real_set_is_read_once(path):
    if path is None:
        pytest.skip(f"no prompt sets under {DATA}; set PROMPTFORGE_EVAL_DATA")
    # DuckDB's own readers count and give the text independently.
    reader = "read_parquet(?)" if path.suffix == ".parquet" else "read_json(?, format = 'newline_delimited')"
    wanted = [row[0] for row in duckdb.execute(f"SELECT prompt FROM {reader}", [str(path)]).fetchall()]
    found = read(path, columns={"text": "prompt"})
    assert [item.row for item in found] == list(range(len(wanted)))
    assert [item.text for item in found if item.fault is None] == [
        text for text, item in zip(wanted, found, strict=True) if item.fault is None
    ]
    assert {item.fault for item in found} <= {None, "empty", "too_large"}
    assert rows.MAX_CHARS == 8000
