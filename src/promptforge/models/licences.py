"""Terms under which known text-to-image models' pictures come, and how much disk the models need.

Names are those of the model cards. A licence needs consent where it restricts what pictures may be used for: FLUX.1-dev
bars commercial use and training of competing models, Stability's community licence bars improving other foundation
models and has a revenue limit. OpenRAIL and Apache-2.0 lay no claim on pictures' use as training data. Terms change:
read the card of the revision that you pin.
Not covered: what a local folder really holds; there the recipe states the licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptforge.errors import ConfigError
from promptforge.protocols import Licence

APACHE = Licence("apache-2.0")
FLUX_DEV = Licence("flux-1-dev-non-commercial-license", needs_consent=True)
FLUX_2_DEV = Licence("flux-dev-non-commercial-license", needs_consent=True)
STABILITY = Licence("stabilityai-ai-community", needs_consent=True)
STABILITY_NC = Licence("sai-nc-community", needs_consent=True)
OPENRAIL_PP = Licence("openrail++")
OPENRAIL_M = Licence("creativeml-openrail-m")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A hub repository. `gib` is the disk for the files that a pipeline needs, computed from parameter counts."""

    repository: str
    licence: Licence
    gib: float


#: FLUX.1: 11.9B + T5-XXL's encoder 4.76B + CLIP-L 0.12B + VAE 0.08B parameters in bf16 are 31.4 GiB.
KNOWN: Mapping[str, KnownModel] = {
    known.repository.lower(): known
    for known in (
        KnownModel("black-forest-labs/FLUX.1-schnell", APACHE, 32),
        KnownModel("black-forest-labs/FLUX.1-dev", FLUX_DEV, 32),
        KnownModel("black-forest-labs/FLUX.1-Krea-dev", FLUX_DEV, 32),
        KnownModel("black-forest-labs/FLUX.2-dev", FLUX_2_DEV, 106),
        KnownModel("stabilityai/stable-diffusion-3-medium-diffusers", STABILITY, 15),
        KnownModel("stabilityai/stable-diffusion-3.5-medium", STABILITY, 16),
        KnownModel("stabilityai/stable-diffusion-3.5-large", STABILITY, 26),
        KnownModel("stabilityai/stable-diffusion-3.5-large-turbo", STABILITY, 26),
        KnownModel("stabilityai/stable-diffusion-xl-base-1.0", OPENRAIL_PP, 14),
        KnownModel("stabilityai/sdxl-turbo", STABILITY_NC, 14),
        KnownModel("stable-diffusion-v1-5/stable-diffusion-v1-5", OPENRAIL_M, 6),
        KnownModel("Qwen/Qwen-Image", APACHE, 54),
    )
}

_BY_NAME: Mapping[str, Licence] = {known.licence.name: known.licence for known in KNOWN.values()}


def known_model(source: str) -> KnownModel | None:
    """The entry of a hub id, whatever its letters' case; None for paths and unknown ids."""
    return KNOWN.get(source.lower())


def licence_of(source: str, stated: str | None, restricted: bool) -> Licence:
    """Terms of the pictures of a model: the known ones, else those that the recipe states.

    Raises ConfigError where neither is there, or where they contradict each other.
    """
    known = known_model(source)
    if known is not None:
        if stated is not None and stated != known.licence.name:
            raise ConfigError(f"{source}: licence is {stated!r}, its card says {known.licence.name!r}; leave it out")
        return Licence(known.licence.name, known.licence.needs_consent or restricted)
    if stated is None:
        raise ConfigError(
            f"{source}: licence is not set, and the model is not one of {', '.join(sorted(_names()))}; read its terms"
            " and state their name as licence (with restricted = true where they limit the pictures' use)"
        )
    by_name = _BY_NAME.get(stated)
    return Licence(stated, restricted or (by_name is not None and by_name.needs_consent))


def _names() -> list[str]:
    return [known.repository for known in KNOWN.values()]
