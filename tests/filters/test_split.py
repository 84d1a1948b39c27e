"""Rows that fit neither side of the split."""

import pyarrow as pa

from promptforge.filters import split
from promptforge.protocols import Finding


def test_a_row_with_reserved_and_open_words_is_dropped():
    table = pa.table({"split": pa.array(["train", "mixed", None, "test_words"], pa.string())})
    assert split.build(split.Params())(table) == [Finding(1, "drop", "split_straddle")]
