"""Fits the word weights by which the filter visualness tells what can be drawn, and says how good they are.

    python benchmarks/fit_visualness.py DATA        # writes src/promptforge/filters/words/visual.toml

DATA holds the prompt sets named below. Visual are captions and prompts that people gave to image models, non-visual
are e-mails, reviews and web prose (UD English-EWT), word problems (GSM8K) and opinions (HateCheck). Each set has the
same weight within its label, the labels weigh the same. Logistic loss, L2 penalty 1 on all weights but the bias;
words that eight prompts and more use get a weight of their own, others that of their class. Half of the rows (by a
hash of their words) are held out while it is judged, and each set in turn; the weights that are written come from all
rows. The rows of visualness_dev.jsonl are in no fit. Half a minute, 1 GB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from scipy.optimize import minimize

from promptforge.filters.words.lists import load
from promptforge.filters.words.tokens import tokens_of, words_in
from promptforge.filters.words.visual import OTHER, Model, class_of

VISUAL = (
    *("tifa_v1", "partiprompts", "hpsv2_photo", "t2i_compbench", "geneval", "pickapic_train", "imagereward_refl"),
    *("flow_grpo_ocr_test", "lex_bench_easy", "drawbench_upsampled"),
)
NON_VISUAL = ("ud_ewt", "gsm8k_questions", "hatecheck")
LISTED = frozenset(load("sexual") + load("hateful") + load("profanity"))  # these stay out of the table
MOST = 6000  # rows of one set
LEAST_USES = 8  # prompts that use a word
PENALTY = 1.0
# HateCheck's opinions are about groups of people; what it says of them must not keep anyone out of pictures.
NEUTRAL = frozenset(
    """muslim muslims islam islamic immigrant immigrants refugee refugees migrant migrants woman women female females
    girl girls gay gays lesbian lesbians trans transgender queer black blacks white disabled disability wheelchair jew
    jews jewish christian christians asian asians african africans arab arabs man men male people
    person""".split()  # noqa: SIM905
)
STEP = 0.1  # weights are rounded to this
OUT = Path(__file__).resolve().parent.parent / "src" / "promptforge" / "filters" / "words" / "visual.toml"


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a set, .jsonl or .parquet."""
    path = folder / f"{name}.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    found: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return found


def folded(text: str) -> str:
    """Name of a text for holding it out."""
    return " ".join(words_in(text))


class Fit:
    """The rows with their words, and what was learnt of some of them."""

    def __init__(self, folder: Path) -> None:
        self.dev = rows_of(folder, "visualness_dev")
        apart = {folded(row["prompt"]) for row in self.dev}
        texts, labels, sets = [], [], []
        rng = np.random.default_rng(0)
        for label, names in ((1, VISUAL), (0, NON_VISUAL)):
            for name in names:
                some = [row["prompt"] for row in rows_of(folder, name) if row["prompt"]]
                some = [text for text in some if folded(text) not in apart and len(words_in(text)) >= 4 - 3 * label]
                if len(some) > MOST:
                    some = [some[i] for i in rng.choice(len(some), MOST, replace=False)]
                texts += some
                labels += [label] * len(some)
                sets += [name] * len(some)
        self.texts, self.labels, self.sets = texts, np.array(labels), np.array(sets)
        self.half = np.array([hashlib.sha256(folded(text).encode()).digest()[0] % 2 for text in texts])
        tokens = tokens_of(pa.array(texts))
        self.words: list[str] = tokens.vocabulary.to_pylist()
        rows = np.repeat(np.arange(len(texts)), tokens.counts)
        shape = (len(texts), len(self.words))
        self.uses = sparse.csr_matrix((np.ones(len(tokens.codes)), (rows, tokens.codes)), shape=shape)
        self.scale = sparse.diags(1 / np.sqrt(np.maximum(tokens.counts, 1)))

    def learn(self, train: np.ndarray) -> Model:
        """The model of the rows that `train` marks."""
        # A word of its own weight is one that others than HateCheck use: its vocabulary is not for a package.
        n_prompts = np.asarray((self.uses[train & (self.sets != "hatecheck")] > 0).sum(0)).ravel()
        own = [
            word
            for word, n in zip(self.words, n_prompts, strict=True)
            if n >= LEAST_USES and re.fullmatch(r"[a-z][a-z']*", word) and word not in LISTED | NEUTRAL
        ]
        names = sorted({*own, *NEUTRAL}) + sorted({class_of(word) for word in self.words} | {OTHER})
        place = {name: number for number, name in enumerate(names)}
        column = np.array([place[word] if word in place else place[class_of(word)] for word in self.words])
        merge = sparse.csr_matrix(
            (np.ones(len(column)), (np.arange(len(column)), column)), shape=(len(column), len(names))
        )
        seen = (self.scale @ self.uses @ merge)[train]
        free = np.array([name not in NEUTRAL for name in names] + [True])
        sign = 2 * self.labels[train] - 1
        weight = self._row_weights(train)

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            margin = sign * (seen @ point[:-1] + point[-1])
            pull = -sign * weight / (1 + np.exp(np.clip(margin, -50, 50)))
            value = (weight * np.logaddexp(0, -margin)).sum() + PENALTY / 2 * (point[:-1] ** 2).sum()
            return value, np.append(seen.T @ pull + PENALTY * point[:-1], pull.sum()) * free

        best = minimize(loss, np.zeros(len(names) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 400}).x
        rounded = np.round(np.round(best[:-1] / STEP) * STEP, 1)
        kept = {name: float(w) for name, w in zip(names, rounded, strict=True)}
        return Model(round(float(best[-1]), 2), kept)

    def _row_weights(self, train: np.ndarray) -> np.ndarray:
        weights = np.zeros(len(self.sets))
        for label in (0, 1):
            names = sorted(set(self.sets[train & (self.labels == label)]))
            for name in names:
                of_it = train & (self.sets == name)
                weights[of_it] = 1 / len(names) / of_it.sum()
        found: np.ndarray = (weights * train.sum())[train]
        return found


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a visual row scores above a non-visual one; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(labels.sum())
    return float((ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def main() -> None:
    """Judge, fit on all, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    fit = Fit(parser.parse_args().data)
    scored = lambda model, texts: model.logits(tokens_of(pa.array(texts)))  # noqa: E731
    figures = {}
    half = fit.learn(fit.half == 0)
    rest = fit.half == 1
    figures["held-out half"] = area_under_curve(scored(half, fit.texts)[rest], fit.labels[rest])
    dev = np.array([int(row["label"] == "visual") for row in fit.dev])
    figures["visualness_dev, fit on half"] = area_under_curve(scored(half, [row["prompt"] for row in fit.dev]), dev)
    for name in (*NON_VISUAL, *VISUAL):
        out = fit.sets == name
        model = fit.learn(~out)
        against = out | (fit.labels != fit.labels[out][0])
        figures[f"without {name}, on {name}"] = area_under_curve(scored(model, fit.texts)[against], fit.labels[against])
    whole = fit.learn(np.ones(len(fit.texts), bool))
    OUT.write_text(written(whole, figures, len(fit.texts)), encoding="utf-8")
    print("\n".join(f"{value:.4f}  {name}" for name, value in figures.items()))


def written(model: Model, figures: dict[str, float], n_rows: int) -> str:
    """The TOML: words by weight; a word of weight zero is listed too, since its class may weigh something."""
    by_weight: dict[float, list[str]] = defaultdict(list)
    for word, weight in model.weights.items():
        by_weight[weight + 0.0].append(word)
    lines = [
        "# Weights of words: above 0 a text with it can be drawn, below 0 it cannot. Written by",
        f"# benchmarks/fit_visualness.py from {n_rows:,} rows of {', '.join((*VISUAL, *NON_VISUAL))}",
        "# (MIT, Apache-2.0, CC-BY-4.0, CC0-1.0 and, for UD English-EWT, CC-BY-SA-4.0). AUC:",
        *(f"#   {value:.4f}  {name}" for name, value in figures.items()),
        f"bias = {model.bias}",
        "",
        "[words]",
    ]
    lines += [f'"{weight:+.1f}" = "{" ".join(sorted(by_weight[weight]))}"' for weight in sorted(by_weight)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
