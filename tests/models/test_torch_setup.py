"""torch on a machine without a GPU: torchvision's operators are there by name, and a missing torch is said."""

from __future__ import annotations

import subprocess
import sys

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
