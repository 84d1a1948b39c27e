"""OWLv2 and Grounding DINO, tiny and random, through the code that loads the real ones."""

import json
import shutil

import numpy as np
import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import detector
from promptforge.models.torch_setup import load_torch
from tests.tiny_models.detectors import tiny_grounding_dino, tiny_owlv2

pytestmark = pytest.mark.models

LABELS = ["cup", "dog", "tree"]
KINDS = {"owlv2": tiny_owlv2, "grounding_dino": tiny_grounding_dino}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    load_torch()
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in KINDS.items()}


@pytest.fixture(scope="module", params=sorted(KINDS))
def folder(request, folders):
    return folders[request.param]


def picture(height=48, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def corners(boxes, across, down):
    """centre and size as shares -> corners in px, inside the picture of 80 x 48"""
    x, y, w, h = boxes.T
    found = np.stack([(x - w / 2) * across, (y - h / 2) * down, (x + w / 2) * across, (y + h / 2) * down], axis=1)
    return np.clip(found, 0, [80, 48, 80, 48])


def rows_of(finds):
    return sorted((f.label, round(f.confidence, 5), *(round(edge, 3) for edge in f.box)) for f in finds)


def expected(labels, scores, boxes):
    """Rows as those of `rows_of`; boxes that the padding or the rim leaves empty are no finds."""
    return sorted(
        (label, round(float(score), 5), *(round(float(edge), 3) for edge in box))
        for label, score, box in zip(labels, scores, boxes, strict=True)
        if box[0] < box[2] and box[1] < box[3]
    )


def close(found, wanted):
    assert [row[0] for row in found] == [row[0] for row in wanted]
    assert np.array([row[1:] for row in found]) == pytest.approx(np.array([row[1:] for row in wanted]), abs=2e-3)


def owlv2_output(folder, labels, pixels):
    """The library's own processor and model, called as its documentation does."""
    import torch
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    processor = Owlv2Processor.from_pretrained(folder)
    texts = [[f"a photo of a {label}" for label in labels]]
    inputs = processor(text=texts, images=pixels, return_tensors="pt", max_length=16)
    with torch.no_grad():
        return processor, Owlv2ForObjectDetection.from_pretrained(folder).eval()(**inputs)


def test_owlv2_boxes_are_those_of_the_librarys_post_processing(folders):
    processor, output = owlv2_output(folders["owlv2"], LABELS, picture())
    middle = (
        float(output.logits.sigmoid().amax(dim=2).median()) + 1e-6
    )  # the library takes what is above, we also equal
    found = []
    for threshold in (0.0, middle):
        (theirs,) = processor.post_process_grounded_object_detection(
            output, threshold=threshold, target_sizes=[(48, 80)], text_labels=[LABELS]
        )
        boxes = np.clip(theirs["boxes"].numpy(), 0, [80, 48, 80, 48])
        wanted = expected(theirs["text_labels"], theirs["scores"], boxes)
        ours = detector.load(str(folders["owlv2"]), None, "cpu").detect(picture(), LABELS, threshold)
        close(rows_of(ours), wanted)
        found.append(len(ours))
    assert found[0] > found[1] > 0


def dino_output(folder, labels, pixels):
    import torch
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    processor = GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(text=[labels], images=pixels, return_tensors="pt")
    with torch.no_grad():
        return processor, inputs, GroundingDinoForObjectDetection.from_pretrained(folder).eval()(**inputs)


def test_grounding_dino_boxes_are_those_of_the_librarys_post_processing(folders):
    """With every token but the labels' own put out, the library's phrase is the one label that it finds surest.

    [CLS] cup . dog . tree . [SEP]: one token a label, at 1, 3 and 5.
    """
    import torch

    processor, inputs, output = dino_output(folders["grounding_dino"], LABELS, picture())
    assert processor.tokenizer.convert_ids_to_tokens(inputs.input_ids[0]) == [
        *("[CLS]", "cup", ".", "dog", ".", "tree", ".", "[SEP]")
    ]
    others = [place for place in range(output.logits.shape[-1]) if place not in (1, 3, 5)]
    output.logits[..., others] = -torch.inf
    best = output.logits[0].max(dim=1, keepdim=True).values
    output.logits[0][output.logits[0] < best] = -torch.inf
    for threshold in (0.05, 0.5, 0.9):
        (theirs,) = processor.post_process_grounded_object_detection(
            output, inputs.input_ids, threshold=threshold, text_threshold=0.0, target_sizes=[(48, 80)]
        )
        boxes = np.clip(theirs["boxes"].numpy(), 0, [80, 48, 80, 48])
        wanted = expected(theirs["text_labels"], theirs["scores"], boxes)
        ours = detector.load(str(folders["grounding_dino"]), None, "cpu").detect(picture(), LABELS, threshold)
        assert wanted
        close(rows_of(ours), wanted)


def test_a_label_of_two_tokens_has_their_mean(folders):
    """[CLS] red cup . dog . [SEP]: red cup at 1 and 2, dog at 4; scores and corners told anew with numpy."""
    _, inputs, output = dino_output(folders["grounding_dino"], ["red cup", "dog"], picture())
    assert inputs.input_ids.shape == (1, 7)
    chances = 1 / (1 + np.exp(-output.logits[0].numpy().astype(np.float64)))
    scores = np.stack([(chances[:, 1] + chances[:, 2]) / 2, chances[:, 4]], axis=1)
    labels = [("red cup", "dog")[place] for place in scores.argmax(axis=1)]
    wanted = expected(labels, scores.max(axis=1), corners(output.pred_boxes[0].numpy(), 80, 48))
    found = detector.load(str(folders["grounding_dino"]), None, "cpu").detect(picture(), ["red cup", "dog"], 0)
    close(rows_of(found), wanted)


def test_owlv2_looks_at_a_square_that_is_padded_below(folders):
    """Boxes are shares of the longer side, 80 px, each way; told anew with numpy."""
    _, output = owlv2_output(folders["owlv2"], LABELS, picture())
    chances = 1 / (1 + np.exp(-output.logits[0].numpy().astype(np.float64)))
    labels = [LABELS[place] for place in chances.argmax(axis=1)]
    wanted = expected(labels, chances.max(axis=1), corners(output.pred_boxes[0].numpy(), 80, 80))
    close(rows_of(detector.load(str(folders["owlv2"]), None, "cpu").detect(picture(), LABELS, 0)), wanted)


def test_finds_come_surest_first_inside_the_picture_and_always_the_same(folder):
    found = detector.load(str(folder), None, "cpu")
    first = found.detect(picture(), LABELS, 0.0)
    assert first == found.detect(picture(), [*LABELS, "cup"], 0.0)
    assert [each.confidence for each in first] == sorted((each.confidence for each in first), reverse=True)
    for each in first:
        x0, y0, x1, y1 = each.box
        assert 0 <= x0 < x1 <= 80
        assert 0 <= y0 < y1 <= 48
        assert 0 <= each.confidence <= 1
        assert each.label in LABELS
    assert found.detect(picture(), [], 0.0) == []
    assert detector.load(str(folder), None, "cpu") is found


def test_a_decoded_picture_that_cannot_be_written_to_is_looked_at_all_the_same(folder):
    fixed = picture()
    fixed.flags.writeable = False
    found = detector.load(str(folder), None, "cpu")
    assert found.detect(fixed, LABELS, 0.0) == found.detect(picture(), LABELS, 0.0)


def test_strange_labels_are_read_too(folder):
    found = detector.load(str(folder), None, "cpu")
    labels = ["", "?", "a. b? c", "Ünïcode 杯", " ".join(["cup"] * 400), "dog"]
    assert {each.label for each in found.detect(picture(), labels, 0.0)} <= set(labels)


def test_more_labels_than_are_read_at_once_are_read_in_turns(tmp_path):
    """A text of 9 tokens holds [CLS] cup . dog . tree . [SEP]: a fourth label is left for a second look."""
    folder = tiny_grounding_dino(tmp_path / "short", n_text=9)
    few = detector.load(str(folder), None, "cpu")
    four = few.detect(picture(), [*LABELS, "lamp"], 0.0)
    apart = [*few.detect(picture(), LABELS, 0.0), *few.detect(picture(), ["lamp"], 0.0)]
    assert rows_of(four) == rows_of(apart)
    assert {each.label for each in four} > {"lamp"}


def copy_of(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_another_kind_of_model_is_refused(folders, tmp_path):
    folder = copy_of(folders["owlv2"], tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "detr"}), "utf-8")
    with pytest.raises(ConfigError, match=r"model_type is 'detr'; .*grounding-dino or owlv2"):
        detector.load(str(folder), None, "cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "processor_config.json", "config.json"])
def test_a_missing_file_is_an_error_that_names_the_folder(folder, tmp_path, name):
    folder = copy_of(folder, tmp_path)
    (folder / name).unlink()
    with pytest.raises(EnvironmentFault, match=str(folder)):
        detector.load(str(folder), None, "cpu")


def test_weights_that_lack_a_part_are_refused_rather_than_filled_with_random_numbers(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy_of(folder, tmp_path)
    held = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(held) if name.endswith("weight"))
    held.pop(name)
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EnvironmentFault, match="lack 1 parts"):
        detector.load(str(folder), None, "cpu")


def test_the_scorer_runs_on_a_loaded_detector(folder):
    from promptforge.protocols import Picture
    from promptforge.questions import from_scene
    from promptforge.scenes import parse
    from promptforge.scorers import detector as scorer

    prompt = "two cups to the left of a dog"
    params = scorer.Params(model=str(folder), min_confidence=0.01)
    questions = from_scene(parse(prompt), prompt)
    seen = Picture(picture(), prompt, "semantic_understanding", (), parse(prompt), questions)
    scores = scorer.build(params).score(seen)
    assert [score.metric for score in scores] == list(scorer.METRICS)
    assert all(0 <= score.value <= 1 for score in scores[:3])
    assert {box["model"] for box in json.loads(scores[3].detail)} <= set(scorer.models(params))
    assert scorer.identity(params)["sha256"] in scorer.models(params)[0]
