"""Rows that a broken file would take along: unclosed quotes in CSV, lines that end with CR alone."""

import pytest

from promptforge.errors import SourceFault
from promptforge.sources import files


def texts_and_faults(path):
    source = files.build(files.Params(paths=(str(path),)), 0)
    (part,) = source.parts()
    return [item.text if item.fault is None else (item.fault,) for item in source.read(part, 0, part.n_rows)]


def write(path, text):
    path.write_bytes(text.encode("utf-8"))
    return path


def test_a_quote_that_is_never_closed_spoils_its_own_line_alone(tmp_path):
    path = write(tmp_path / "a.csv", 'text\na cat\n"a dog\na cow\n')
    assert texts_and_faults(path) == ["a cat", ("malformed_row",), "a cow"]
    path = write(tmp_path / "b.csv", 'text\n"a dog\na cow\na "grey" cat\n"a hen\n"an owl"\n')
    assert texts_and_faults(path) == [
        *(("malformed_row",), "a cow", 'a "grey" cat', ("malformed_row",), "an owl"),
    ]


def test_rows_far_down_are_the_same_after_quotes_that_are_never_closed(tmp_path):
    path = write(tmp_path / "a.csv", "text\n" + '"a dog\na cow\n' * 5000)
    source = files.build(files.Params(paths=(str(path),)), 0)
    (part,) = source.parts()
    whole = list(source.read(part, 0, part.n_rows))
    assert [len(whole), sum(row.text == "a cow" for row in whole)] == [10_000, 5000]
    assert list(source.read(part, 8190, 8200)) == whole[8190:8200]


def test_a_file_whose_lines_end_with_cr_alone_is_refused(tmp_path):
    with pytest.raises(SourceFault, match="CR alone"):
        texts_and_faults(write(tmp_path / "a.txt", "a cat\ra dog\r"))
    assert texts_and_faults(write(tmp_path / "b.txt", "a cat\r")) == ["a cat"]
