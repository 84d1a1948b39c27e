"""The layer check holds for this checkout, and finds each kind of fault when one is planted."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layers", REPOSITORY / ".ci" / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant(root: Path, files: dict[str, str]) -> Path:
    """A checkout with these files under src/promptforge/ and an empty __init__.py in every folder."""
    for name, text in files.items():
        path = root / "src" / "promptforge" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.relative_to(root / "src").parents[:-1]:
            (root / "src" / folder / "__init__.py").touch()
    return root


def test_the_layout_of_this_checkout_holds(layers: ModuleType) -> None:
    assert layers.violations(REPOSITORY) == []


def test_imports_that_point_down_are_no_fault(layers: ModuleType, tmp_path: Path) -> None:
    files = {
        "errors.py": "import json\n",
        "records.py": "from promptforge.errors import DataFault\n",
        "store.py": "from promptforge import records, schema\nfrom .errors import DataFault\n",
        "schema.py": "import promptforge.records as r\n",
        "filters/length.py": "from promptforge.filters.folding.words import fold\n",
        "filters/folding/words.py": "from ...records import Prompt\nfrom .letters import LETTERS\n",
        "filters/folding/letters.py": "LETTERS = 'ab'\n",
        "models/clip.py": "import torch\nimport open_clip\n",
        "teachers/diffusers.py": "def build():\n    from diffusers import FluxPipeline\n",
        "stages/filter.py": "from promptforge.filters import length\nfrom promptforge.sources import files\n",
        "sources/files.py": "from promptforge import __version__\n",
        "flows/curate.py": "from prefect import flow\nfrom promptforge.stages.filter import run\n",
        "cli.py": "def main():\n    from promptforge.flows import curate\n",
    }
    assert layers.violations(plant(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"records.py": "import promptforge.store\n", "store.py": ""}, "records.py:1: records may not import store"),
        ({"records.py": "from promptforge import store\n", "store.py": ""}, "records may not import store"),
        ({"store.py": "\ndef f():\n    from .stages import run\n", "stages/run.py": ""}, "store.py:3: store may not"),
        ({"filters/a.py": "from ..scorers import b\n", "scorers/b.py": ""}, "filters and scorers stand side by side"),
        ({"filters/a.py": "from promptforge.filters.b import x\n", "filters/b.py": ""}, "a component never sees"),
        ({"filters/a.py": "from . import b\n", "filters/b.py": ""}, "a component never sees another"),
        ({"stages/run.py": "from prefect import task\n"}, "stages/run.py:1: prefect belongs in flows alone"),
        ({"stages/run.py": "import prefect_ray.runners\n"}, "prefect_ray belongs in flows alone"),
        ({"scorers/text.py": "import torch.nn as nn\n"}, "torch belongs in models or teachers.diffusers or distill"),
        ({"cli.py": "import importlib\nimportlib.import_module('torch')\n"}, "cli.py:2: torch belongs in"),
        ({"__init__.py": "import prefect\n"}, "promptforge/__init__.py:1: prefect belongs in flows alone"),
        ({"teachers/diffusers_two.py": "import diffusers\n"}, "diffusers belongs in"),
        (
            {"store.py": "import promptforge.lock\n", "lock.py": "from . import store\n"},
            "circle: lock -> store -> lock",
        ),
        ({"extras.py": ""}, "extras has no level"),
        ({"stages/utils.py": ""}, "src/promptforge/stages/utils.py: name it after what is inside"),
        ({"stages/common/run.py": ""}, "name it after what is inside"),
        ({"store.py": "x = 1\n" * 401}, "src/promptforge/store.py: 401 lines, at most 400"),
    ],
)
def test_a_planted_fault_is_found(layers: ModuleType, tmp_path: Path, files: dict[str, str], fault: str) -> None:
    assert fault in "\n".join(layers.violations(plant(tmp_path, files)))


def test_a_folder_that_is_reached_by_a_link_is_checked_too(layers: ModuleType, tmp_path: Path) -> None:
    plant(tmp_path, {"cli.py": ""})
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "curate.py").write_text("import torch\n", encoding="utf-8")
    (tmp_path / "src" / "promptforge" / "flows").symlink_to("../../flows")
    assert any("flows/curate.py:1: torch" in fault for fault in layers.violations(tmp_path))


def test_importing_promptforge_loads_no_heavy_library() -> None:
    program = "import sys, promptforge; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "datasets",
        "duckdb",
        "fastapi",
        "numpy",
        "onnxruntime",
        "pandas",
        "prefect",
        "pyarrow",
        "rapidocr",
        "torch",
    }
    assert heavy.isdisjoint(done.stdout.split())
    assert "promptforge" in done.stdout.split()
