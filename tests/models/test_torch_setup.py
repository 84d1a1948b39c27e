"""torch on a machine without a GPU: torchvision's operators are there by name, and a missing torch is said."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.models import torch_setup

HEAVY = {"torch", "diffusers", "transformers", "open_clip", "easyocr", "openai", "vllm"}


@pytest.mark.models
def test_what_imports_torchvision_loads_on_a_lone_cpu_build() -> None:
    code = "from promptforge.models.torch_setup import load_torch; load_torch(); import torchvision, open_clip"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.models
def test_torch_is_the_exact_version_that_the_lock_names() -> None:
    assert torch_setup.load_torch().__version__.partition("+")[0] == "2.13.0"
    assert torch_setup.load_torch() is torch_setup.load_torch()


@pytest.mark.models
def test_ranks_go_round_the_gpus_that_there_are() -> None:
    torch = torch_setup.load_torch()
    n = torch.cuda.device_count()
    wanted = [f"cuda:{rank % n}" for rank in range(5)] if n else ["cpu"] * 5
    assert [torch_setup.device_of(rank) for rank in range(5)] == wanted
    found = torch_setup.provenance(wanted[0])
    assert found["torch"] == torch.__version__
    assert found["device"] == (torch.cuda.get_device_name(0) if n else "cpu")


def test_nothing_of_the_package_imports_torch_before_it_is_asked_to() -> None:
    code = (
        "import sys; from promptforge.stages import parts; import importlib;"
        "[importlib.import_module(f'promptforge.{p}.{m}') for p in ('sources', 'filters', 'teachers', 'scorers',"
        " 'models', 'models.language') for m in parts.known(p)];"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_without_torch_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_setup, "find_spec", lambda _name: None)
    torch_setup.load_torch.cache_clear()
    with pytest.raises(EnvironmentFault, match="torch is not installed; install the models extra: make setup-models"):
        torch_setup.load_torch()
    torch_setup.load_torch.cache_clear()


def test_a_model_is_loaded_while_nobody_computes_and_computing_waits_for_it() -> None:
    said: list[str] = []
    inside, load_waits = threading.Event(), threading.Event()

    def compute() -> None:
        with torch_setup.computing():
            inside.set()
            load_waits.wait(5)
            with torch_setup.computing():  # a model within a model: this thread is let through
                said.append("computed")

    def load() -> None:
        inside.wait(5)
        with torch_setup.loading(), torch_setup.loading():
            said.append("loaded")

    def compute_later() -> None:
        with torch_setup.computing():
            said.append("computed later")

    threads = [threading.Thread(target=work) for work in (compute, load)]
    for thread in threads:
        thread.start()
    inside.wait(5)
    while not torch_setup._GATE._n_loading:
        time.sleep(0.01)
    threads.append(threading.Thread(target=compute_later))
    threads[-1].start()
    time.sleep(0.05)
    assert said == []
    load_waits.set()
    for thread in threads:
        thread.join(5)
    assert said == ["computed", "loaded", "computed later"]


def test_a_fault_while_loading_lets_the_others_go_on() -> None:
    with pytest.raises(EnvironmentFault), torch_setup.loading():
        raise EnvironmentFault("no such file")
    with torch_setup.computing():
        pass


@pytest.mark.models
def test_ranks_load_and_look_in_one_process_as_one_alone(tmp_path: Path) -> None:
    """Loading turns torch's default type for the whole process: 12 loads of bf16 beside a CLIP and a detector."""
    torch_setup.load_torch()
    from promptforge.models import detector
    from promptforge.models.diffusion.loading import load
    from promptforge.models.diffusion.settings import Settings
    from promptforge.models.open_clip import TowerParams, tower_of
    from tests.tiny_models.clip import tiny_clip
    from tests.tiny_models.detectors import tiny_owlv2
    from tests.tiny_models.pipelines import tiny_flux

    tower = tower_of(TowerParams(tower=str(tiny_clip(tmp_path / "clip"))).tower_spec)
    owl = detector.load(str(tiny_owlv2(tmp_path / "owl")), None, "cpu")
    settings = Settings(model=str(tiny_flux(tmp_path / "flux")), dtype="bf16", size=64, licence="none")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    def looked(_number: int) -> tuple[bytes, object]:
        return tower.pictures([pixels.copy()])[0].tobytes(), owl.detect(pixels, ["cup", "dog"], 0.01)

    alone = looked(0)
    with ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(load, settings, rank) for rank in range(12)]
        looks = [looked(number) for number in range(30)]
        assert [each.result().mode for each in loads] == ["resident"] * 12
    assert looks == [alone] * 30
