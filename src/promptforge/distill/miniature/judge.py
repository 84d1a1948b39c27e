"""Trains the two judges of the miniature world on canvas pictures of their own, never on the mini-teacher's.

    python -m promptforge.distill.miniature.judge select WORK --autoencoder FOLDER
    python -m promptforge.distill.miniature.judge evaluate WORK --autoencoder FOLDER

`select` and `evaluate` share no prompt's picture, no seed and no shape, so that who selects is not who evaluates. Each
writes WORK/miniature-judge-<name>/, which the package keeps in models/bundled/. FOLDER is the trained pipeline or its
autoencoder: every seventh picture is seen as it comes out of that too, since a generator's pictures are as soft.
Pictures are drawn once and kept in WORK; training takes some 3 minutes of one processor.
Not covered: pictures with things of other worlds; the net has seen none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cyclopts
import numpy as np
import numpy.typing as npt

from promptforge.distill.miniature import pictures
from promptforge.distill.miniature.pictures import Pictures, Shown
from promptforge.models.picture_judge import CELLS, Known, Shape, inputs, net, save
from promptforge.models.torch_setup import load_torch
from promptforge.records import Axis
from promptforge.sources import miniature

Name = Literal["select", "evaluate"]
#: Things need most; letters are there so that no thing is seen in them.
SHARES: Mapping[Axis, int] = {
    Axis.IMAGE_QUALITY: 200,
    Axis.SEMANTIC_UNDERSTANDING: 720,
    Axis.TEXT_RENDERING: 80,
}
#: Share of the pictures that are seen also after the autoencoder.
_SOFT = 0.15
#: Pixels that a picture is moved at most, each way.
_MOVE = 4


@dataclass(frozen=True)
class Plan:
    """A judge's shape, and the seed of its prompts, pictures and training."""

    shape: Shape
    seed: int


PLANS: Mapping[Name, Plan] = {
    "select": Plan(Shape(((48, 4, 4), (96, 3, 2)), 2, 96, "plain"), 1_001),
    "evaluate": Plan(Shape(((32, 4, 4), (128, 2, 2)), 3, 48, "bottleneck"), 2_002),
}


@dataclass(frozen=True)
class Effort:
    """How much is done; the defaults made the weights of the package."""

    n_pictures: int = 10_000
    steps: int = 1_000
    batch: int = 64
    rate: float = 2e-3


def known() -> Known:
    """The world's words."""
    return Known(miniature.NOUNS, miniature.COLOURS, miniature.words())


def targets(shown: Sequence[Shown], words: Known) -> npt.NDArray[np.float32]:
    """What the net should say, 5 x 8 x 8: closeness of a centre in (0, 1], x, y in cells, number of noun, of colour.

    Closeness falls with the distance of the cell's middle from the nearest centre, as e^(-d^2); the rest is of that
    centre.
    """
    found = np.zeros((5, CELLS, CELLS), np.float32)
    middle = np.arange(CELLS) + 0.5
    for one in shown:
        dx, dy = np.meshgrid(one.x * CELLS - middle, one.y * CELLS - middle)
        close = np.exp(-(dx**2 + dy**2)).astype(np.float32)
        nearer = close > found[0]
        values = (close, dx, dy, words.nouns.index(one.noun), words.colours.index(one.colour))
        for channel, value in enumerate(values):
            found[channel] = np.where(nearer, value, found[channel])
    return found


def train(name: Name, drawn: Pictures, soft: npt.NDArray[np.uint8], effort: Effort, tell: Callable[[str], None]) -> Any:
    """A trained net; `soft` are the first pictures after an autoencoder, which may be none."""
    torch = load_torch()
    plan, words = PLANS[name], known()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        module = net(plan.shape, words)
    average = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = torch.optim.AdamW(module.parameters(), lr=effort.rate, betas=(0.9, 0.99), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, effort.rate, effort.steps, pct_start=0.1)
    rng = np.random.default_rng(plan.seed)
    losses: list[float] = []
    for step in range(effort.steps):
        images, wanted = _batch(drawn, soft, words, effort.batch, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            said = module(torch.from_numpy(images))
        loss = _loss(said.float(), torch.from_numpy(wanted), len(words.nouns))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        keep = min(0.99, (1 + step) / (10 + step))
        for key, value in module.state_dict().items():
            average[key].lerp_(value, 1 - keep)
        losses.append(float(loss.detach()))
        if (step + 1) % 200 == 0:
            tell(f"{name}: step {step + 1:,} of {effort.steps:,}, loss {np.mean(losses[-200:]):.4f}")
    module.load_state_dict(average)
    return module.eval()


def _loss(said: Any, wanted: Any, n_nouns: int) -> Any:
    """Cross-entropies of presence, noun and colour, and distance; what a thing is counts by closeness to its centre."""
    torch = load_torch()
    functional = torch.nn.functional
    close = wanted[:, 0]
    # A cell at a centre weighs up to five times as much as an empty one: few of the 64 are near one.
    there = functional.binary_cross_entropy_with_logits(said[:, 0], close, weight=1 + 4 * close)
    weight = torch.where(close > 0.3, close, torch.zeros_like(close))
    total = weight.sum().clamp_min(1.0)
    place = (said[:, 1:3] - wanted[:, 1:3]).abs().sum(1)
    noun = functional.cross_entropy(said[:, 3 : 3 + n_nouns], wanted[:, 3].long(), reduction="none")
    colour = functional.cross_entropy(said[:, 3 + n_nouns :], wanted[:, 4].long(), reduction="none")
    return 5 * there + ((place + noun + colour) * weight).sum() / total


def _batch(
    drawn: Pictures, soft: npt.NDArray[np.uint8], words: Known, n: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pictures, n x 3 x 64 x 64, moved, blurred, tinted and made noisy by chance, and their targets."""
    chosen = rng.integers(len(drawn.texts) + len(soft), size=n)
    late = chosen - len(drawn.texts)
    places = np.where(late >= 0, late, chosen)
    pixels = drawn.pixels[places].astype(np.float32)
    if (late >= 0).any():
        pixels[late >= 0] = soft[late[late >= 0]]
    moves = rng.integers(-_MOVE, _MOVE + 1, size=(n, 2))
    side = pixels.shape[1]
    wanted = []
    for place, (right, down) in zip(places, moves.tolist(), strict=True):
        moved = [Shown(one.noun, one.colour, one.x + right / side, one.y + down / side) for one in drawn.shown[place]]
        wanted.append(targets(moved, words))
    return inputs(_spoiled(_moved(pixels, moves.tolist()), rng)), np.stack(wanted)


def _moved(pixels: npt.NDArray[np.float32], moves: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """The pictures moved right and down; the border is repeated into what comes free."""
    side = pixels.shape[1]
    padded = np.pad(pixels, ((0, 0), (_MOVE, _MOVE), (_MOVE, _MOVE), (0, 0)), mode="edge")
    return np.stack(
        [
            each[_MOVE - down : _MOVE - down + side, _MOVE - right : _MOVE - right + side]
            for each, (right, down) in zip(padded, moves, strict=True)
        ]
    )


def _spoiled(pixels: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    n = len(pixels)

    def each(low: float, high: float) -> npt.NDArray[np.float32]:
        return rng.uniform(low, high, size=(n, 1, 1, 1)).astype(np.float32)

    # a blur of 3 px, up to the plain mean, for four pictures of ten
    share = np.where(rng.random((n, 1, 1, 1)) < 0.4, each(0.1, 1 / 3), np.float32(0))
    for axis in (1, 2):
        pixels = (1 - 2 * share) * pixels + share * (np.roll(pixels, 1, axis) + np.roll(pixels, -1, axis))
    tint = rng.normal(0, 6, size=(n, 1, 1, 3)) + rng.normal(0, 6, size=(n, 1, 1, 1))
    noise = rng.standard_normal(pixels.shape, np.float32) * each(0, 12)
    found = (pixels - 128) * each(0.9, 1.1) + (128 + tint.astype(np.float32)) + noise
    return np.asarray(np.clip(found, 0, 255), np.uint8)


def round_trip(folder: Path, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pictures after encoding and decoding; `folder` is the autoencoder or a pipeline that has one as vae/."""
    torch = load_torch()
    from diffusers import AutoencoderKL

    if (folder / "vae").is_dir():
        folder = folder / "vae"
    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    found = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for at in range(0, len(pixels), 50):
            images = torch.from_numpy(inputs(pixels[at : at + 50]))
            back = vae.decode(vae.encode(images).latent_dist.mean).sample.float()
            found.append(((back + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(found) if found else pixels


def pictures_of(name: Name, work: Path, effort: Effort) -> Pictures:
    """A judge's own pictures, drawn where they are not in `work` yet."""
    path, words = work / f"judge-{name}.npy", work / f"judge-{name}.json"
    if not words.is_file():
        made = pictures.make(effort.n_pictures, PLANS[name].seed, 1, SHARES)
        np.save(path, made.pixels)
        told = [made.texts, made.axes, [[asdict(one) for one in each] for each in made.shown]]
        words.write_text(json.dumps(told), "utf-8")
    texts, axes, shown = json.loads(words.read_text("utf-8"))
    things = tuple(tuple(Shown(**one) for one in each) for each in shown)
    return Pictures(tuple(texts), tuple(axes), np.load(path), things)


app = cyclopts.App(help=__doc__)


@app.default
def main(name: Name, work: Path, *, autoencoder: Path | None = None, steps: int = Effort.steps) -> None:
    """Train one judge into WORK."""
    work.mkdir(parents=True, exist_ok=True)
    effort = Effort(steps=steps)

    def tell(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    drawn = pictures_of(name, work, effort)
    tell(f"{name}: {len(drawn.texts):,} pictures")
    chosen = np.random.default_rng(PLANS[name].seed).permutation(len(drawn.texts))
    drawn = Pictures(
        tuple(drawn.texts[n] for n in chosen),
        tuple(drawn.axes[n] for n in chosen),
        drawn.pixels[chosen],
        tuple(drawn.shown[n] for n in chosen),
    )
    n_soft = int(_SOFT * len(drawn.texts)) if autoencoder else 0
    soft = round_trip(autoencoder, drawn.pixels[:n_soft]) if autoencoder else drawn.pixels[:0]
    folder = work / f"miniature-judge-{name}"
    save(folder, train(name, drawn, soft, effort, tell), PLANS[name].shape, known())
    tell(str(folder))


if __name__ == "__main__":
    app()
