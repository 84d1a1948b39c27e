"""Prompts as the table that filters get."""

import pyarrow as pa


def table(texts, expected=None, axis="image_quality"):
    expected = expected or [[]] * len(texts)
    half = len(texts) // 2
    columns = {
        "text_clean": pa.chunked_array([texts[:half], texts[half:]], pa.string()),
        "expected_text": pa.array(expected, pa.list_(pa.string())),
        "expected_origin": pa.array(["quoted" if strings else None for strings in expected], pa.string()),
        "axis": pa.array([axis] * len(texts), pa.string()),
        "repairs": pa.array([[]] * len(texts), pa.list_(pa.string())),
        "n_words": pa.array([len(text.split()) for text in texts], pa.int32()),
        "n_chars": pa.array([len(text) for text in texts], pa.int32()),
    }
    return pa.table(columns)


def findings(module, texts, expected=None, **params):
    check = module.build(module.Params(**params))
    return list(check(table(texts, expected).select(list(check.columns))))
