"""Does a prompt name anything?"""

import pytest

from promptforge.filters import specificity
from promptforge.protocols import Finding
from tests.filters.columns import findings


@pytest.mark.parametrize(
    "text", ["beautiful masterpiece, highly detailed, trending on artstation", "something amazing", "4 k, 1920", "!!!"]
)
def test_praise_and_media_alone_name_nothing(text):
    assert findings(specificity, ["a cat", text]) == [Finding(1, "drop", "names_nothing", 0.0, 1.0)]


@pytest.mark.parametrize("text", ["a photo of a bench", "stunning zeppelin, 8k", "一只猫", "a wooden thing"])
def test_one_named_thing_is_enough(text):
    assert findings(specificity, [text]) == []


def test_more_can_be_asked_for_and_equal_words_count_once():
    # wizard, wizard: one; wizard, tower: two
    found = findings(specificity, ["a wizard, a great wizard", "a wizard's tower"], min_words=2)
    assert found == [Finding(0, "drop", "too_vague", 1.0, 2.0)]
