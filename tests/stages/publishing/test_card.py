"""The card and the manifest, read with huggingface_hub and a Markdown parser."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

from huggingface_hub import DatasetCard


def test_the_card_parses_and_its_figures_are_those_of_the_tables(done: Path) -> None:
    card = DatasetCard.load(done / "dataset/README.md")
    front = card.data.to_dict()
    assert front["license"] == "cc0-1.0"
    assert front["size_categories"] == "n<1K"
    assert front["task_categories"] == ["text-to-image"]
    configs = {item["config_name"]: [split["path"] for split in item["data_files"]] for item in front["configs"]}
    assert configs == {
        "default": ["data/train-*", "data/test_words-*"],
        "prompts": ["prompts/train-*", "prompts/test_words-*"],
    }
    sizes = {
        info["config_name"]: {split["name"]: split["num_examples"] for split in info["splits"]}
        for info in front["dataset_info"]
    }
    assert sizes == {"default": {"train": 8, "test_words": 1}, "prompts": {"train": 9, "test_words": 2}}
    text = card.text
    # train: 1 for quality, 4 for semantics, 4 for text of which row 5 is misread; test_words: 2, one not rendered.
    assert "| train | 1 / 1 | 4 / 4 | 4 / 3 |" in text
    assert "| test_words | 0 / 0 | 0 / 0 | 2 / 1 |" in text
    assert "| image_quality | 2 | 0 | 1 | 0 | 0 | 1 |" in text
    assert "| image_quality | filter | length | too_short | 1 |" in text
    assert "| text_rendering | not_rendered | 1 |" in text
    assert "11 accepted prompts, 9 of them with a picture" in text
    assert "5 prompts were made by the embedded grammar" in text  # rows 1, 3, 5, 7, 9
    assert (
        "| text_reads | keep_image | image_quality, semantic_understanding, text_rendering | text | verdict |" in text
    )


def test_the_card_has_the_measures_by_axis(done: Path) -> None:
    text = DatasetCard.load(done / "dataset/README.md").text
    table = text.split("## Coverage")[1].split("##")[0]
    rows = {tuple(cells[:2]): cells for line in table.splitlines() if (cells := line.strip("| ").split(" | "))[1:]}
    heads = rows["axis", "which"]
    assert heads[2:6] == ["prompts", "I-N", "UN", "N/I"]
    # Every published prompt once: I-N over all is the sum of the axes', by the same words.
    pairs = {axis: int(cells[3]) for (axis, which), cells in rows.items() if which == "all"}
    assert pairs["all"] == sum(n for axis, n in pairs.items() if axis != "all")
    # The one prompt for quality is from a file; of 11 in all the grammar wrote 5.
    assert rows["image_quality", "all"][heads.index("natural")] == "100%"
    assert rows["all", "all"][heads.index("natural")] == "54.5%"
    assert "natural captions" not in text.split("## Splits")[0]


def test_the_first_line_says_that_the_teacher_is_the_embedded_one(done: Path) -> None:
    body = DatasetCard.load(done / "dataset/README.md").text.lstrip().splitlines()
    assert "drawings of promptforge's embedded canvas teacher, made for testing the pipeline" in body[0]


def test_a_hostile_prompt_is_letters_only_on_the_card(done: Path) -> None:
    card = (done / "dataset/README.md").read_text("utf-8")
    for sign in ("</script>", "**x**", "[a](", "=cmd", "\u202e", "http://e", "www.e"):
        assert sign not in card
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark").enable("table").render(card.split("## Examples")[1].split("## Columns")[0])
    assert "&lt;/script&gt;`|**x** [a](http://e.example) www.e.example =cmd()" in html
    assert "<a " not in html


def test_every_published_column_is_explained_on_the_card(done: Path) -> None:
    columns = json.loads((done / "dataset/manifest.json").read_text("utf-8"))["columns"]
    text = (done / "dataset/README.md").read_text("utf-8").split("## Columns")[1]
    for name in sorted({name for group in columns.values() for name in group}):
        assert f"| {name} |" in text


def test_the_manifest_names_every_file_and_what_made_it(small: SimpleNamespace, done: Path) -> None:
    manifest = json.loads((done / "dataset/manifest.json").read_text("utf-8"))
    files = small.contents(done / "dataset")
    assert sorted(manifest["files"]) == sorted(set(files) - {"manifest.json"})
    for name, item in manifest["files"].items():
        assert item["sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert item["bytes"] == len(files[name])
    assert manifest["files"]["data/train-00000-of-00003.parquet"]["rows"] == 3
    assert manifest["counts"]["train"]["text_rendering"] == {"prompts": 4, "pictures": 3}
    assert manifest["backends"]["teacher"]["kind"] == "canvas"
    assert [item["kind"] for item in manifest["backends"]["scorers"]] == ["technical", "text"]
    assert manifest["backends"]["teacher"]["pictures"][0]["description"] == {"size": 24, "teacher": "canvas"}
