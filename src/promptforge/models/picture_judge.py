"""Which things a small picture shows, with their colours and places: the judges of the miniature world.

A convolutional net of under half a million weights sees 64 x 64 px and says at each of 8 x 8 cells how surely the
centre of a thing lies there, which thing, of which colour, and where in the cell. Its folder holds config.json (the
words that it knows, the net's shape) and model.safetensors in bfloat16; the arithmetic is in float32 on the CPU, one
picture at a time, so that no picture's result depends on its neighbours.

Two judges come with the package: promptforge:miniature-judge-select and promptforge:miniature-judge-evaluate. They
differ in pictures, prompts and shape (promptforge.distill.miniature.judge trains them).
Not covered: letters; things whose centres are nearer than 9 px of 64; anything but the flat drawings of that world.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from promptforge.errors import ConfigError
from promptforge.models import weights
from promptforge.models.torch_setup import computing, load_torch, loading
from promptforge.protocols import Pixels

SIZE = 64  #: side of what a judge sees, in px
CELLS = 8  #: cells along a side
#: Least chance of a centre that counts as a thing.
_LEAST = 0.5
#: Two centres nearer than this, in px of SIZE, are one thing: in the world they are 20 or more apart.
_APART = 9.0
FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True, slots=True)
class Shape:
    """The net: `stem` = (channels, kernel, stride) of each layer down to 8 x 8 cells, then blocks of `inner` width.

    plain blocks are two 3 x 3 layers, bottleneck blocks 1 x 1, 5 x 5, 1 x 1.
    """

    stem: tuple[tuple[int, int, int], ...]
    blocks: int
    inner: int
    kind: Literal["plain", "bottleneck"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a judge was taught: its things, its colours, and all words of that world's prompts."""

    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that was seen; x and y are its centre as shares of width and height, the chances in [0, 1]."""

    noun: str
    colour: str
    x: float
    y: float
    chance: float  # of a thing there at all
    noun_chance: float
    colour_chance: float


def net(shape: Shape, known: Known) -> Any:
    """The untrained net: n x 3 x 64 x 64 in [-1, 1] to n x (3 + nouns + colours) x 8 x 8."""
    torch = load_torch()
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, width: int) -> None:
            super().__init__()
            kernels = (3, 3) if shape.kind == "plain" else (1, 5, 1)
            widths = [width, *[shape.inner] * (len(kernels) - 1), width]
            layers: list[Any] = []
            for n, kernel in enumerate(kernels):
                layers += [nn.GroupNorm(8, widths[n]), nn.SiLU()]
                layers.append(nn.Conv2d(widths[n], widths[n + 1], kernel, padding=kernel // 2))
            self.layers = nn.Sequential(*layers)

        def forward(self, at: Any) -> Any:
            return at + self.layers(at)

    layers: list[Any] = []
    before = 3
    for channels, kernel, stride in shape.stem:
        padding = 0 if kernel == stride else kernel // 2
        layers += [nn.Conv2d(before, channels, kernel, stride, padding), nn.GroupNorm(8, channels), nn.SiLU()]
        before = channels
    layers += [Block(before) for _ in range(shape.blocks)]
    layers += [nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, 3 + len(known.nouns) + len(known.colours), 1)]
    return nn.Sequential(*layers)


def save(folder: Path, module: Any, shape: Shape, known: Known) -> None:
    """Write config.json and model.safetensors, the weights in bfloat16."""
    torch = load_torch()
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps({"shape": asdict(shape), "known": asdict(known)}, indent=1, sort_keys=True)
    (folder / FILES[0]).write_text(config + "\n", "utf-8")
    state = {name: value.to(torch.bfloat16).contiguous() for name, value in sorted(module.state_dict().items())}
    save_file(state, folder / FILES[1])


def load(source: str) -> PictureJudge:
    """The judge in a folder. Raises EnvironmentFault where there is none, ConfigError where it is something else."""
    torch = load_torch()
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = weights.require_safe(weights.locate(source, None))
    try:
        raw = json.loads((folder / FILES[0]).read_text("utf-8"))
        stem = tuple((int(a), int(b), int(c)) for a, b, c in raw["shape"]["stem"])
        shape = Shape(**{**raw["shape"], "stem": stem})
        known = Known(**{name: tuple(words) for name, words in raw["known"].items()})
        with loading(), torch.random.fork_rng(devices=[]):
            module = net(shape, known)
            module.load_state_dict({name: value.float() for name, value in load_file(folder / FILES[1]).items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as exc:
        raise ConfigError(f"{folder}: no judge of pictures ({type(exc).__name__}: {exc}); expected {FILES}") from exc
    return PictureJudge(module.eval().requires_grad_(False), known)


class PictureJudge:
    """A trained net with its words."""

    def __init__(self, module: Any, known: Known) -> None:
        self._module, self.known = module, known

    def look(self, pixels: Pixels) -> tuple[Thing, ...]:
        """The things in one picture, surest first; any size, seen at 64 x 64 px."""
        torch = load_torch()
        with computing(), torch.inference_mode():
            found = self._module(torch.from_numpy(inputs(small(pixels)[None])))[0].float().numpy()
        return decoded(found, self.known)


def small(pixels: Pixels) -> Pixels:
    """The picture at SIZE x SIZE px, each the mean of what it covers."""
    if pixels.shape[:2] == (SIZE, SIZE):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BOX), np.uint8)


def inputs(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Bytes, n x 64 x 64 x 3, as numbers in [-1, 1], n x 3 x 64 x 64."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


def decoded(found: npt.NDArray[np.float32], known: Known) -> tuple[Thing, ...]:
    """Things from one picture's output, (3 + nouns + colours) x 8 x 8, surest first."""
    chances = 1 / (1 + np.exp(-found[0].astype(np.float64)))
    n_nouns = len(known.nouns)
    things: list[Thing] = []
    for place in np.argsort(-chances, axis=None, kind="stable"):
        row, column = divmod(int(place), CELLS)
        chance = float(chances[row, column])
        if chance < _LEAST:
            break
        x = (column + 0.5 + float(found[1, row, column])) / CELLS
        y = (row + 0.5 + float(found[2, row, column])) / CELLS
        if any(np.hypot(x - one.x, y - one.y) * SIZE < _APART for one in things):
            continue
        noun, noun_chance = _best(found[3 : 3 + n_nouns, row, column])
        colour, colour_chance = _best(found[3 + n_nouns :, row, column])
        things.append(Thing(known.nouns[noun], known.colours[colour], x, y, chance, noun_chance, colour_chance))
    return tuple(things)


def _best(logits: npt.NDArray[np.float32]) -> tuple[int, float]:
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    best = int(np.argmax(powers))
    return best, float(powers[best] / powers.sum())
