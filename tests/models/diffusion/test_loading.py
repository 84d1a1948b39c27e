"""Loading: safetensors alone, no code, clear words where something is missing, schedulers that fit."""

import json
import math
import shutil

import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion.loading import check_folder, pipeline_on_cpu
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch

pytestmark = [
    pytest.mark.models,
    # diffusers reads every pipeline to choose one, and one of them still uses TorchScript
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    load_torch()
    from tests.tiny_models.pipelines import tiny_flux, tiny_sd, tiny_sd3

    root = tmp_path_factory.mktemp("pipelines")
    return {
        "flux": tiny_flux(root / "flux"),
        "sd3": tiny_sd3(root / "sd3"),
        "auto": tiny_sd(root / "sd"),
    }


def settings(folders, pipeline, **more):
    return Settings(model=str(folders[pipeline]), pipeline=pipeline, **{"dtype": "fp32", "size": 64, **more})


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [("flux", "FluxPipeline"), ("sd3", "StableDiffusion3Pipeline"), ("auto", "StableDiffusionPipeline")],
)
def test_each_kind_loads_in_the_type_that_is_asked_for(folders, pipeline, name):
    pipe = pipeline_on_cpu(settings(folders, pipeline, dtype="bf16"))
    assert type(pipe).__name__ == name
    assert {str(part.dtype) for part in pipe.components.values() if hasattr(part, "parameters")} == {"torch.bfloat16"}


def test_a_folder_with_pickled_weights_alone_is_refused(folders, tmp_path):
    torch = load_torch()
    folder = shutil.copytree(folders["flux"], tmp_path / "flux")
    for path in folder.rglob("*.safetensors"):
        torch.save({}, path.with_suffix(".bin"))
        path.unlink()
    with pytest.raises(EnvironmentFault, match=r"can run code when read.*expected .safetensors"):
        pipeline_on_cpu(Settings(model=str(folder)))


def test_one_pickled_part_among_safe_ones_is_refused_by_its_folder(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "flux")
    weights = folder / "text_encoder_2" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(EnvironmentFault, match=r"text_encoder_2: holds only pytorch_model.bin"):
        pipeline_on_cpu(Settings(model=str(folder)))


def test_python_in_a_models_folder_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "flux")
    (folder / "transformer" / "my_model.py").write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match=r"holds my_model.py; Python from a model's folder is never run"):
        check_folder(folder)


def test_a_part_that_is_gone_and_a_folder_that_is_no_pipeline_are_named(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "flux")
    shutil.rmtree(folder / "vae")
    with pytest.raises(EnvironmentFault, match="vae"):
        pipeline_on_cpu(Settings(model=str(folder)))
    with pytest.raises(EnvironmentFault, match="expected the folder of a whole pipeline"):
        check_folder(folders["flux"] / "transformer")


def test_another_kind_of_pipeline_than_the_settings_say_is_refused(folders):
    wrong = settings(folders, "sd3").model_copy(update={"pipeline": "flux"})
    with pytest.raises(ConfigError, match=r"is a StableDiffusion3Pipeline.*set pipeline = 'sd3'"):
        pipeline_on_cpu(wrong)


def test_offline_the_message_names_model_licence_token_and_disk(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    missing = Settings(model="black-forest-labs/FLUX.1-dev", revision="0" * 40)
    with pytest.raises(EnvironmentFault) as caught:
        pipeline_on_cpu(missing)
    message = str(caught.value)
    parts = ["black-forest-labs/FLUX.1-dev at 000000000000", "not on this machine", "hf download", "32 GiB of disk"]
    parts += ["flux-1-dev-non-commercial-license", "HF_TOKEN"]
    assert [part for part in parts if part not in message] == []


def test_a_fixed_shift_takes_the_place_of_the_dynamic_one(folders):
    pipe = pipeline_on_cpu(settings(folders, "flux", shift=3.0))
    pipe.scheduler.set_timesteps(sigmas=[1.0, 0.5], mu=0.7)
    # 3 x 0.5 / (1 + 2 x 0.5) = 0.75
    assert pipe.scheduler.sigmas.tolist() == pytest.approx([1.0, 0.75, 0.0])


def test_the_dynamic_shift_follows_the_size(folders):
    pipe = pipeline_on_cpu(settings(folders, "flux"))
    pipe("a cat", height=64, width=64, num_inference_steps=2, output_type="latent", max_sequence_length=16)
    # 16 patches: mu = 0.5 + (16 - 256) x (1.15 - 0.5) / (4096 - 256) = 0.459375; sigma = e^mu / (e^mu + 1 / 0.5 - 1)
    mu = 0.459375
    assert pipe.scheduler.sigmas.tolist() == pytest.approx([1.0, math.exp(mu) / (math.exp(mu) + 1), 0.0])


def test_another_scheduler_is_told_to_follow_a_flow(folders):
    pipe = pipeline_on_cpu(settings(folders, "flux", scheduler="UniPCMultistepScheduler"))
    assert type(pipe.scheduler).__name__ == "UniPCMultistepScheduler"
    assert pipe.scheduler.config.use_flow_sigmas
    assert pipe.scheduler.config.prediction_type == "flow_prediction"


@pytest.mark.parametrize("name", ["NoSuchScheduler", "FluxPipeline", "DDIMScheduler"])
def test_a_scheduler_that_is_none_or_cannot_follow_a_flow_is_refused(folders, name):
    with pytest.raises(ConfigError, match=f"scheduler '?{name}"):
        pipeline_on_cpu(settings(folders, "flux", scheduler=name))


def test_a_scheduler_that_draws_noise_of_its_own_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "flux")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stochastic_sampling": True}), encoding="utf-8")
    with pytest.raises(ConfigError, match="stochastic_sampling"):
        pipeline_on_cpu(Settings(model=str(folder)))
