"""`python -m promptforge.distill.miniature FOLDER`: trains the miniature pipeline, or goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import cyclopts

from promptforge.distill.miniature.training import Effort, train

app = cyclopts.App(help=__doc__)


@app.default
def main(
    folder: Path,
    *,
    pictures: int = Effort.n_pictures,
    autoencoder_steps: int = Effort.autoencoder_steps,
    flow_steps: int = Effort.flow_steps,
    seed: int = Effort.seed,
) -> None:
    """Train into FOLDER/pipeline."""
    effort = Effort(pictures, autoencoder_steps=autoencoder_steps, flow_steps=flow_steps, seed=seed)
    print(train(folder, effort, lambda line: print(line, flush=True)))  # noqa: T201


if __name__ == "__main__":
    app()
