"""Terms of known and unknown models."""

import pytest

from promptforge.errors import ConfigError
from promptforge.models.licences import KNOWN, known_model, licence_of
from promptforge.protocols import Licence


def test_the_flux_teachers_differ_in_what_their_pictures_may_be_used_for():
    assert licence_of("black-forest-labs/FLUX.1-schnell", None, False) == Licence("apache-2.0")
    assert licence_of("black-forest-labs/FLUX.1-dev", None, False).needs_consent


@pytest.mark.parametrize("model", ["stable-diffusion-3-medium-diffusers", "stable-diffusion-3.5-large"])
def test_stability_asks_for_consent_since_it_bars_improving_other_models(model):
    assert licence_of(f"stabilityai/{model}", None, False) == Licence("stabilityai-ai-community", needs_consent=True)


def test_case_of_a_hub_id_does_not_hide_its_terms():
    assert known_model("Black-Forest-Labs/flux.1-DEV") is KNOWN["black-forest-labs/flux.1-dev"]


def test_an_unknown_model_needs_its_terms_stated():
    with pytest.raises(ConfigError, match=r"licence is not set.*state their name as licence"):
        licence_of("/models/mine", None, False)
    assert licence_of("/models/mine", "mine-1.0", False) == Licence("mine-1.0")
    assert licence_of("/models/mine", "mine-1.0", True) == Licence("mine-1.0", needs_consent=True)


def test_a_local_copy_under_a_known_restricted_licence_needs_consent_all_the_same():
    assert licence_of("/models/flux", "flux-1-dev-non-commercial-license", False).needs_consent


def test_a_known_models_terms_cannot_be_restated():
    with pytest.raises(ConfigError, match="its card says 'flux-1-dev-non-commercial-license'"):
        licence_of("black-forest-labs/FLUX.1-dev", "apache-2.0", False)
