"""Any text-to-image pipeline of diffusers as a teacher: FLUX, Stable Diffusion 3, and whatever else it loads.

A picture depends on its text, its seed and the description alone, to the bit within one provenance (versions, device,
attention, compile and memory mode). Lossless speed is on by default, lossy speed is opt-in and part of the
fingerprint. Failed pictures (NaN, black, flat, blanked by a safety checker, out of memory) are renderings with an
error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptforge.models import licences
from promptforge.models.diffusion import drawing, loading, settings
from promptforge.models.diffusion.settings import Settings as Params
from promptforge.protocols import Licence, Rendering, RenderJob
from promptforge.records import canonical_json, content_id

__all__ = ["VERSION", "Diffusers", "Params", "build", "describe", "licence"]

VERSION = 1
PLACES = ("model",)


def build(params: Params, rank: int = 0) -> Diffusers:
    """The teacher on the rank's device. Raises ConfigError and EnvironmentFault, each with its remedy."""
    return Diffusers(params, loading.load(params, rank))


def describe(params: Params) -> Mapping[str, Any]:
    """What decides a picture besides text and seed; loads no weights and imports no torch."""
    return settings.describe(params, VERSION)


def licence(params: Params) -> Licence:
    """Terms of the pictures. Raises ConfigError where the model is unknown and the recipe does not state them."""
    return licences.licence_of(params.model, params.licence, params.restricted)


class Diffusers:
    """Draws with a loaded pipeline."""

    def __init__(self, params: Params, loaded: loading.Loaded) -> None:
        self.description: Mapping[str, Any] = describe(params)
        self.fingerprint = content_id(canonical_json(self.description))
        self.provenance: Mapping[str, Any] = loaded.provenance
        self.loaded = loaded  #: the pipeline itself, for what is measured with it besides pictures
        self._drawer = drawing.Drawer(loaded)

    def render_all(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering]:
        """One rendering for each job, in order; on a GPU one batch ahead."""
        return self._drawer.draw(jobs)
