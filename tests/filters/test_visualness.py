"""What can be drawn."""

import json

import numpy as np
import pyarrow as pa

from promptforge.filters import visualness
from promptforge.filters.words.visual import Model, class_of
from tests.filters.columns import findings


def chance_of_the_right_order(scores, labels):
    """Mann-Whitney: share of pairs in which the visual row scores higher; ties count half."""
    high, low = scores[labels][:, None], scores[~labels][None, :]
    return float((high > low).mean() + (high == low).mean() / 2)


def test_captions_score_above_sentences_that_show_nothing(eval_data):
    rows = [json.loads(line) for line in (eval_data / "visualness_dev.jsonl").read_text("utf-8").splitlines()]
    scores = visualness.score(pa.array([row["prompt"] for row in rows]))
    labels = np.array([row["label"] == "visual" for row in rows])
    assert len(rows) == 300
    assert chance_of_the_right_order(scores, labels) >= 0.97


def test_a_thought_is_dropped_and_a_scene_passes():
    thought = "I think that you should always be honest with them because it is the right thing"
    found = findings(visualness, ["a red fox sleeping on a mossy stone", thought])
    assert [(item.row, item.verdict, item.reason, item.threshold) for item in found] == [(1, "drop", "not_visual", 0.1)]
    assert 0 <= found[0].value < 0.1


def test_a_short_text_passes():
    assert findings(visualness, ["why not", "be honest"]) == []


def test_what_is_to_be_drawn_counts_for_nothing():
    text = "A dragon holding a banner with the words 'I know that you would never be what they think you are'"
    strings = ["I know that you would never be what they think you are"]
    assert [item.reason for item in findings(visualness, [text], [[]])] == ["not_visual"]
    assert findings(visualness, [text], [strings]) == []


def test_groups_of_people_are_neither_visual_nor_not():
    one, other = visualness.score(pa.array(["a photo of two women in a park", "a photo of two muslims in a park"]))
    assert one == other


def test_the_logit_is_bias_and_weights_over_the_root_of_the_number_of_words():
    model = Model(0.5, {"cat": 2.0, "hope": -3.0, "<number>": 1.0, "<-tion>": -2.0, "<other>": 0.25})
    # 4 words: (2 - 3 + 1 - 2) / sqrt(4) + 0.5
    assert model.logit("Cat, hope 42 formation") == -0.5
    assert model.logit("zzz") == 0.75
    assert model.logit("...") == 0.5
    assert [class_of(word) for word in ("3rd", "ion", "formation", "wise")] == [
        *("<number>", "<other>", "<-tion>", "<other>")
    ]
