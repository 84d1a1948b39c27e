"""A Request as chat messages, how the next token is drawn, and the control request that tells a row from a model.

Not covered: several pictures, tools, earlier turns.
"""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Completion, Pixels, Request

LOOK_S = 1.0  #: seconds without a completion after which the caller gets a look around
#: `finish` of a completion that has `error` set.
FAILED = "error"
#: What the control request asks: any working model can answer it under any schema.
CONTROL_TEXT = "Answer with a short example."


class Sampling(BaseModel):
    """How the next token is drawn, beside the temperature and seed of each request; unset is left to the model."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    top_p: float | None = Field(None, gt=0, le=1, description="share of the probability that tokens are drawn from")
    top_k: int | None = Field(None, ge=1, description="number of likeliest tokens that are drawn from")
    min_p: float | None = Field(None, ge=0, le=1, description="least probability, relative to the likeliest token")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="against tokens that were used")
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="against tokens, by how often they were used"
    )
    repetition_penalty: float | None = Field(None, gt=0, le=10, description="factor against tokens seen; 1 is none")

    def sampling(self) -> dict[str, float | int]:
        """The values that are set, by name."""
        values = {name: getattr(self, name) for name in Sampling.model_fields}
        return {name: value for name, value in values.items() if value is not None}


def messages(request: Request) -> list[dict[str, Any]]:
    """System (where there is one) and user message; a picture goes before the text, as PNG in a data URL."""
    content: Any = request.user
    if request.picture is not None:
        content = [
            {"type": "image_url", "image_url": {"url": picture_url(request.picture)}},
            {"type": "text", "text": request.user},
        ]
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": content}]


def picture_url(pixels: Pixels) -> str:
    """The picture as a data URL: lossless, so that what is judged is what was rendered."""
    from PIL import Image

    file = io.BytesIO()
    # Level 1: 4 times faster than the default for 10% more bytes, and no one keeps them.
    Image.fromarray(pixels, "RGB").save(file, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def control(request: Request) -> Request:
    """The same request with nothing of the row in it: if this fails too, the model is at fault and not the row."""
    blank = None if request.picture is None else np.full((64, 64, 3), 255, dtype=np.uint8)
    return replace(request, subject="control", system="", user=CONTROL_TEXT, picture=blank)


def failed(why: str) -> Completion:
    """The completion of a row that the model cannot answer, though it answers others."""
    return Completion("", 0, 0, finish=FAILED, error=why)


def whole_characters(text: str) -> str:
    """The text as Unicode that can be stored: halves of a character joined, lone ones replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def one_line(text: str, limit: int = 300) -> str:
    """A foreign message as part of one of ours: one line, no control characters, not endless."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= limit else f"{line[:limit]}..."
