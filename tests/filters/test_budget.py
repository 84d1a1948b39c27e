"""What the encoders do not read."""

import pyarrow as pa
import pytest

from promptforge import recipe
from promptforge.errors import ConfigError
from promptforge.filters import budget
from promptforge.protocols import Finding
from promptforge.stages.parts import Part
from tests.filters.columns import findings


def test_texts_whose_bytes_fit_pass_and_others_are_said_to_be_open_without_a_tokenizer():
    # 20 bytes and 2 marks are 22 tokens at most
    assert findings(budget, ["x" * 20], max_tokens=22) == []
    assert findings(budget, ["x" * 20], max_tokens=21) == [Finding(0, "near_miss", "budget_unknown", 22.0, 21.0)]


def test_the_bound_is_of_the_folded_text():
    # U+FDFA folds to 18 characters of 33 bytes
    assert findings(budget, ["a cat", "\ufdfa"], max_tokens=34) == [
        Finding(1, "near_miss", "budget_unknown", 35.0, 34.0)
    ]


def test_a_path_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"filters\.budget\.t5: .*tokenizer\.json"):
        budget.build(budget.Params(t5=str(tmp_path / "nothing")))
    with pytest.raises(ConfigError, match=r"filters\.budget\.clip"):
        budget.identity(budget.Params(clip=str(tmp_path)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from tests.tiny_models.tokenizers import clip_tokenizer, t5_tokenizer

    root = tmp_path_factory.mktemp("tokenizers")
    made = {"t5": t5_tokenizer(), "clip": clip_tokenizer()}
    for name, tokenizer in made.items():
        (root / name).mkdir()
        tokenizer.backend_tokenizer.save(str(root / name / "tokenizer.json"))
    return root, made


@pytest.mark.models
def test_tokens_are_those_of_the_library_and_what_is_cut_is_named(files):
    root, made = files
    text = "a red cat on a table, a dog under the tree, and a house near the water"
    n = len(made["t5"](text).input_ids)
    assert findings(budget, [text], t5=str(root / "t5"), max_tokens=n) == []
    (found,) = findings(budget, [text], t5=str(root / "t5" / "tokenizer.json"), max_tokens=n - 1)
    assert found == Finding(0, "drop", "over_budget", n, n - 1, "and a house near the water")
    upto = len(made["t5"]("a red cat on a table, a dog").input_ids)  # its end mark takes the next token's place
    (found,) = findings(budget, [text], t5=str(root / "t5"), max_tokens=upto)
    assert found.detail == text[len("a red cat on a table, ") :][:80]


@pytest.mark.models
def test_a_string_to_be_drawn_behind_the_limit_has_its_own_reason(files):
    root, made = files
    text = "a sign that says 'red' beside a tree and a cat and a dog and a house"
    n = len(made["t5"](text).input_ids)
    (found,) = findings(budget, [text], [["red"]], t5=str(root / "t5"), max_tokens=n - 1)
    assert found.reason == "over_budget"
    n_before = len(made["t5"]("a sign that says").input_ids)
    (found,) = findings(budget, [text], [["red"]], t5=str(root / "t5"), max_tokens=max(n_before, 8))
    assert (found.reason, found.detail) == ("expected_text_cut", "red")


@pytest.mark.models
def test_nothing_is_dropped_for_clip_alone(files):
    root, made = files
    text = "a red cat on a table " * 20
    n = len(made["clip"](text).input_ids)
    assert n > 77
    (found,) = findings(budget, [text], clip=str(root / "clip"))
    assert (found.verdict, found.reason, found.value, found.threshold) == ("near_miss", "clip_cut", n, 77)


@pytest.mark.models
def test_bytes_bound_the_tokens_of_real_tokenizers(files):
    for text in ("a cat", "xqz" * 30, "Ünïcödé ﬃ ½ \ufdfa", "猫と犬 🐈", "''\"\"!!  ?"):
        bound = budget._bounds(pa.chunked_array([[text]]))[0].as_py()
        assert all(len(tokenizer(text).input_ids) <= bound for tokenizer in files[1].values())


@pytest.mark.models
def test_where_a_tokenizer_lies_is_no_part_of_its_identity(files, tmp_path):
    root, _ = files
    copy = tmp_path / "other.json"
    copy.write_bytes((root / "t5" / "tokenizer.json").read_bytes())
    one, other = (Part("budget", budget, budget.Params(t5=str(path))) for path in (root / "t5", copy))
    assert one.digest == other.digest
    assert one.digest != Part("budget", budget, budget.Params()).digest


@pytest.mark.parametrize("name", ["flux-dev", "flux-schnell", "flux-dev-distill", "sd3"])
def test_recipes_hold_prompts_against_their_own_regime_and_look_at_safety_first(name):
    raw = recipe.read(name)
    assert raw["filters"]["budget"]["max_tokens"] == raw["regime"]["max_sequence_length"]
    assert next(iter(raw["filters"])) == "safety"
