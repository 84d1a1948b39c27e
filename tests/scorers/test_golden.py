"""What each scorer says of one fixed picture, by VERSION: other output needs a raised VERSION and a line here."""

import json
from typing import Any

import numpy as np
import pytest

from promptforge.protocols import Picture, Pixels, Scorer, TextLine
from promptforge.records import Scene, SceneObject
from promptforge.scorers import agreement, technical, text

GOLDEN: dict[str, dict[int, dict[str, Any]]] = {
    "technical": {
        1: {
            "blur": 0.2305,
            "sharpness": 1003.1007,
            "exposure": 0.7501,
            "clipped_dark": 0.0,
            "clipped_bright": 0.0,
            "contrast": 0.5534,
            "colourfulness": 88.7086,
            "entropy": 4.8369,
            "flat": 0.0,
            "black": 0.0,
            "blurred": 0.0,
        }
    },
    "agreement": {
        1: {
            "colour_agreement": 1.0,
            "count_agreement": 0.5,
            # 2 * 24 ** 2 / 96 ** 2 = 0.125
            "regions": '[{"colour":"red","found":2,"nouns":["cup"],"share":0.125,"wanted":3},'
            '{"colour":"blue","found":1,"nouns":["car"],"share":0.0625,"wanted":1}]',
        }
    },
    "text": {
        4: {
            "exact": 0.0,
            "folded": 0.0,
            "cer": 0.1176,  # two letters of 17 swapped: 2 / 17
            "ned": 0.8824,
            "word_recall": 0.75,
            "word_precision": 0.75,
            "verdict": "misread",
            "reading": '{"lines":[{"box":[[10.0,10.0],[90.0,10.0],[90.0,30.0],[10.0,30.0]],"confidence":0.9,'
            '"text":"Frehs tea"},{"box":[[10.0,40.0],[90.0,40.0],[90.0,60.0],[10.0,60.0]],"confidence":0.8,'
            '"text":"all day"}],"n_looks":2,"shapes":[]}',
        }
    },
}


def picture() -> Pixels:
    """Two red squares and one blue on a pale slope: arithmetic alone, no font and no drawing library."""
    slope = np.linspace(200, 230, 96).astype(np.uint8)
    pixels = np.repeat(np.repeat(slope[:, None, None], 96, axis=1), 3, axis=2)
    for top, left, colour in ((10, 10, (220, 30, 40)), (10, 60, (220, 30, 40)), (60, 30, (30, 90, 220))):
        pixels[top : top + 24, left : left + 24] = colour
    return pixels


class Reader:
    """Always the same two lines: what is golden here is the comparison, not the engine."""

    identity = "fixed"

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        del pixels
        box = ((10.0, 10.0), (90.0, 10.0), (90.0, 30.0), (10.0, 30.0))
        return (TextLine("Frehs tea", 0.9, box), TextLine("all day", 0.8, tuple((x, y + 30) for x, y in box)))


def said(scorer: Scorer) -> dict[str, Any]:
    scene = Scene(objects=(SceneObject("cup", 3, "red"), SceneObject("car", 1, "blue")))
    found = scorer.score(Picture(picture(), "", "text_rendering", ("Fresh tea all day",), scene))
    return {
        score.metric: score.detail if score.value is None and score.detail else round(score.value, 4)
        for score in found
        if score.value is not None or score.detail
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_output_changes_only_with_the_version(name: str) -> None:
    scorers: dict[str, tuple[int, Scorer]] = {
        "technical": (technical.VERSION, technical.build(technical.Params())),
        "agreement": (agreement.VERSION, agreement.build(agreement.Params())),
        "text": (text.VERSION, text.Text(Reader())),
    }
    version, scorer = scorers[name]
    assert said(scorer) == GOLDEN[name].get(version), json.dumps(said(scorer), indent=4)
