"""Measures as people read them: heads of columns, values, what they mean. The card and the command show the same."""

from __future__ import annotations

from collections.abc import Mapping

#: Measure -> head of its column, in order. A prompt stands for its picture in the paper's I-N, UN and N/I.
HEADS: Mapping[str, str] = {
    "prompts": "prompts",
    "noun_pairs": "I-N",
    "unique_nouns": "UN",
    "nouns_per_prompt": "N/I",
    "distinct_1": "dist-1",
    "distinct_2": "dist-2",
    "distinct_3": "dist-3",
    "words_p05": "words 5%",
    "words_p50": "50%",
    "words_p95": "95%",
    "templates": "templates",
    "template_share": "largest",
    "natural_share": "natural",
    "near_duplicate_share": "near dup.",
}
LEGEND = (
    "I-N: nouns, each once a prompt; UN: different ones; N/I: nouns a prompt (arXiv 2404.02883). dist-n: different"
    " n-grams of words over all. words: 5% and so on of the prompts have no more. largest: share of the largest"
    " template. natural: not written by a grammar. near dup.: dropped as such, of these and the kept. UN and dist-n"
    " depend on the number of prompts: compare sets of one size."
)


def written(measure: str, value: float | None) -> str:
    """A value for a person; empty for none."""
    if value is None:
        return ""
    if measure.endswith("_share"):
        return percent(value)
    if measure.startswith("distinct_"):
        return f"{value:.3f}"
    return f"{value:.2f}" if measure == "nouns_per_prompt" else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share with one decimal, which a whole number has not; never rounded up to 100% or down to 0%."""
    tenths = min(max(round(share * 1000), share > 0), 1000 - (share < 1))
    return f"{tenths / 10:g}%"
