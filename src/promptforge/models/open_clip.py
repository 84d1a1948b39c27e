"""CLIP through open_clip: one tower a process and device, its embeddings shared by every scorer that asks.

The default is OpenAI's ViT-L/14 under the config ViT-L-14-quickgelu, the tower that the LAION heads were trained on.

On a CPU pictures and texts go one at a time in fp32: a score is the same bits alone, among others and in any order.
On a GPU pictures go in batches of 16, the last one padded, so that the same kernels run whatever their number; an
embedding then moves with its place by the rounding of `precision` at most; the self-test allows 1e-2.

What limits it is scaling pictures down: 6 to 10 ms of one core at 1024 px, where an H100's own share is 0.2 ms (162
GFLOP at 790 TFLOP/s). 16 cores reach 0.4 to 0.7 ms a picture, 8 cores 0.8 to 1.3 (computed, not measured).
Not covered: a picture's margins, since open_clip's transform keeps the central square.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import islice
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.clip_weights import DEFAULT_ARCHITECTURE, DEFAULT_REVISION, DEFAULT_TOWER, TowerSpec, load
from promptforge.models.torch_setup import computing, device_of, load_torch, n_cores
from promptforge.protocols import Pixels

Vector = npt.NDArray[np.float32]  #: one embedding, of length 1

BATCH = 16  # pictures of a GPU batch
KEPT_TEXTS = 4096  # 3 kB each; takes of one prompt, and scorers after each other, ask for the same text
MOST_PREPARERS = 32  # threads; one for each core up to here


class TowerParams(BaseModel):
    """Parameters of every scorer that looks through a CLIP tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tower: str = Field(
        DEFAULT_TOWER,
        description="hub id, folder with open_clip_config.json and safetensors, or one safetensors file",
    )
    tower_revision: str | None = Field(
        None, description="40-digit commit of the hub repository; known for the default tower alone"
    )
    architecture: str | None = Field(
        None, description="named config of open_clip; left out: that of the folder, or ViT-L-14-quickgelu by default"
    )
    quick_gelu: bool | None = Field(
        None, description="whether the weights were trained with QuickGELU, where no config beside them says it"
    )
    precision: Literal["fp16", "bf16", "fp32"] = Field(
        "fp16", description="of matrix products on a GPU; a CPU always takes fp32"
    )

    @model_validator(mode="after")
    def _names_one_tower(self) -> Self:
        spec = self.tower_spec
        weights.check_field(spec.source, spec.revision)
        return self

    @property
    def tower_spec(self) -> TowerSpec:
        """The tower, with what is known of the default one filled in."""
        default = self.tower == DEFAULT_TOWER
        return TowerSpec(
            self.tower,
            self.tower_revision or (DEFAULT_REVISION if default else None),
            self.architecture or (DEFAULT_ARCHITECTURE if default else None),
            self.quick_gelu,
            self.precision,
        )


class Tower:
    """A loaded model with its transform and tokenizer; threads take turns at it."""

    def __init__(self, spec: TowerSpec, device: str) -> None:
        self.spec, self.device = spec, device
        self._torch = load_torch()
        self.model, self.transform, self._tokenizer = load(spec, device)
        self._guard = threading.RLock()
        self._preparers = ThreadPoolExecutor(min(MOST_PREPARERS, n_cores()), "clip-prepare")
        self._staging: Any = None  # pinned memory for one batch
        self._made: dict[int, tuple[weakref.ref[Pixels], Vector]] = {}
        self._texts: OrderedDict[str, tuple[Vector, bool]] = OrderedDict()
        self.width = len(self.text("a")[0])  #: numbers of an embedding

    @computing()
    def pictures(self, pictures: Sequence[Pixels]) -> list[Vector]:
        """An embedding for each picture, in order: float32, length 1.

        An array that was embedded before and is still alive is not embedded again: the scorers of a batch see the
        same arrays. So pixels must not be changed in place.
        """
        with self._guard:
            known = {id(each): self._remembered(each) for each in pictures}
            todo = list({id(each): each for each in pictures if known[id(each)] is None}.values())
            for pixels, made in zip(todo, self._embedded(todo), strict=True):
                known[id(pixels)] = made
                self._made[id(pixels)] = (weakref.ref(pixels, self._forget(id(pixels))), made)
            return [vector for each in pictures if (vector := known[id(each)]) is not None]

    @computing()
    def text(self, text: str) -> tuple[Vector, bool]:
        """The embedding of a text, and whether the tower saw only its beginning (77 tokens for CLIP)."""
        with self._guard:
            if text not in self._texts:
                tokens = self._tokens(text)
                n = tokens.shape[1]
                longer = self._tokenizer([text], context_length=n + 1)[:, :n].to(self.device)
                with self._torch.inference_mode(), self._narrowed():
                    found = self.model.encode_text(tokens)
                self._texts[text] = (_of_length_one(found.float().cpu().numpy())[0], not bool((longer == tokens).all()))
                while len(self._texts) > KEPT_TEXTS:
                    self._texts.popitem(last=False)
            self._texts.move_to_end(text)
            return self._texts[text]

    def prepare(self, pixels: Pixels) -> Any:
        """The tensor that the image tower takes: open_clip's own transform for these weights."""
        return self.transform(Image.fromarray(pixels))

    def _tokens(self, text: str) -> Any:
        return self._tokenizer([text]).to(self.device)

    def _remembered(self, pixels: Pixels) -> Vector | None:
        held = self._made.get(id(pixels))
        return held[1] if held and held[0]() is pixels else None

    def _forget(self, key: int) -> Any:
        made = self._made  # and not self: a living array would keep the tower alive
        return lambda _: made.pop(key, None)

    def _embedded(self, pictures: Sequence[Pixels]) -> Iterator[Vector]:
        ready = self._prepared(pictures)
        size = 1 if self.device == "cpu" else BATCH
        while chunk := list(islice(ready, size)):
            batch = self._torch.stack(chunk) if size == 1 else self._staged(chunk)
            found = self._forward(batch, self._narrowed())
            bad = ~np.isfinite(found).all(axis=1)
            if bad.any():  # fp16 overflows at 65504, which only other weights than OpenAI's reach
                found[bad] = self._forward(batch, nullcontext())[bad]
            yield from found[: len(chunk)]

    def _staged(self, chunk: Sequence[Any]) -> Any:
        """A batch in pinned memory, the same for each: whoever asks has read the answer to the last one."""
        if self._staging is None:
            self._staging = self._torch.empty((BATCH, *chunk[0].shape), pin_memory=True)
        self._torch.stack(chunk, out=self._staging[: len(chunk)])
        self._staging[len(chunk) :].zero_()
        return self._staging

    def _forward(self, batch: Any, narrowed: AbstractContextManager[None]) -> npt.NDArray[np.float32]:
        with self._torch.inference_mode(), narrowed:
            found = self.model.encode_image(batch.to(self.device, non_blocking=True))
        return _of_length_one(found.float().cpu().numpy())

    def _prepared(self, pictures: Sequence[Pixels]) -> Iterator[Any]:
        """Prepared tensors in order; two batches ahead are in the making, so that the device never waits for them."""
        waiting: deque[Future[Any]] = deque()
        for pixels in pictures:
            waiting.append(self._preparers.submit(self.prepare, pixels))
            if len(waiting) > 2 * BATCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _narrowed(self) -> AbstractContextManager[None]:
        if self.device == "cpu" or self.spec.precision == "fp32":
            return nullcontext()
        dtype = {"fp16": self._torch.float16, "bf16": self._torch.bfloat16}[self.spec.precision]
        narrowed: AbstractContextManager[None] = self._torch.autocast("cuda", dtype=dtype)
        return narrowed


_loading = threading.Lock()


def tower_of(spec: TowerSpec, rank: int = 0) -> Tower:
    """The tower on the rank's device, loaded once a process for each spec and device."""
    with _loading:
        return _tower(spec, device_of(rank))


@cache
def _tower(spec: TowerSpec, device: str) -> Tower:
    return Tower(spec, device)


def or_null(value: float) -> float | None:
    """The number, or None where the tower's answer was not finite even in fp32."""
    return value if np.isfinite(value) else None


def self_test(spec: TowerSpec, load: Callable[[], Callable[[Pixels], float | None]]) -> list[str]:
    """What is wrong with a tower and the measure that `load` builds on it, one line each; empty where all is well.

    Weights that cannot be had or do not fit are faults too. Takes the time of loading, and of five pictures.
    """
    try:
        tower, measure = tower_of(spec), load()
    except (ConfigError, EnvironmentFault) as exc:
        return [str(exc)]
    faults = _faults_of(tower)
    one, other = (measure(pixels) for pixels in (sample_picture(), sample_picture()))
    if one is None or other is None or abs(one - other) > (0 if tower.device == "cpu" else 1e-2):
        faults.append(f"{spec.source}: one picture measured twice gave {one} and {other}; expected one finite number")
    return faults


def _faults_of(tower: Tower) -> list[str]:
    pixels = sample_picture()
    (first,) = tower.pictures([pixels])
    text, truncated = tower.text("a photograph of a red square")
    again, *_ = tower.pictures([pixels.copy(), pixels[::-1].copy()])
    faults = []
    for name, vector in (("picture", first), ("text", text)):
        if vector.shape != (tower.width,) or not abs(float(np.linalg.norm(vector)) - 1) < 1e-4:
            faults.append(f"{tower.spec.source}: embedding of a {name} has length {np.linalg.norm(vector)}, expected 1")
    if not np.allclose(first, again, atol=1e-6 if tower.device == "cpu" else 1e-2):
        faults.append(f"{tower.spec.source}: one picture gave two embeddings, {np.abs(first - again).max():.2g} apart")
    if truncated:
        faults.append(f"{tower.spec.source}: a text of six words does not fit its context")
    return faults


def sample_picture() -> Pixels:
    """A red square on a grey ramp, 256 px."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0)
    pixels = np.repeat(ramp, 3, axis=2)
    pixels[64:192, 64:192] = (220, 20, 20)
    return pixels


def _of_length_one(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: npt.NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return unit
