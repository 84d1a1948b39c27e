"""The training of the mini-teacher, with next to no steps: what it writes is a teacher, and it goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptforge.protocols import RenderJob

pytestmark = [
    pytest.mark.models,
    # torch says that its fastest norm wants equal types; under autocast they never are
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_an_interrupted_training_ends_with_the_same_weights_and_they_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptforge.distill.miniature import training
    from promptforge.teachers import diffusers

    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    effort = training.Effort(20, autoencoder_steps=3, autoencoder_batch=2, flow_steps=4, flow_batch=4, workers=1)
    whole = training.train(tmp_path / "whole", effort, lambda _: None)

    class Cut(Exception):
        pass

    for last in ("autoencoder: step 2 of 3", "flow: step 3 of 4"):

        def tell(line: str, last: str = last) -> None:
            if line.startswith(last):
                raise Cut

        with pytest.raises(Cut):
            training.train(tmp_path / "cut", effort, tell)
    again = training.train(tmp_path / "cut", effort, lambda _: None)
    assert _weights(again) == _weights(whole)
    settings = {"size": 64, "steps": 2, "guidance": 0.0, "max_sequence_length": 16, "pooled": "zero", "dtype": "fp32"}
    teacher = diffusers.build(diffusers.Params(model=str(whole), licence="Apache-2.0", **settings))
    (drawn,) = teacher.render_all([RenderJob("a red cat", 3)])
    assert drawn.pixels is not None, drawn.error
    assert drawn.pixels.shape == (64, 64, 3)
