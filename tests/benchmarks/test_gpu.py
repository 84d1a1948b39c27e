"""benchmarks/gpu.py at its tiny size: every phase runs, and the record says that these are no GPU figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "tiny.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--tiny", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text("utf-8"))


def test_the_first_field_says_that_these_are_no_gpu_figures(record):
    name, value = next(iter(record.items()))
    assert name == "what"
    assert value.startswith("NO GPU FIGURES")
    assert record["device"] == "cpu"
    assert record["ended"] == "after the last phase"


def test_every_phase_has_run(record):
    phases = record["phases"]
    assert {name: found for name, found in phases.items() if "error" in found or "skipped" in found} == {}
    assert list(phases) == [
        "build",
        "text_encoders",
        "vae",
        "drawing_64_px_batch_1",
        "busy",
        "response",
        "scoring",
        "render_stage",
        "drawing_64_px_batch_2",
        "memory_encoders_to_cpu",
        "memory_model_offload",
        "memory_blocks_to_cpu",
    ]


def test_rates_and_times_are_of_the_same_runs(record):
    for batch, pictures in ((1, 2), (2, 2)):
        found = record["phases"][f"drawing_64_px_batch_{batch}"]
        assert found["errors"] == []
        for name in ("ours", "bare"):
            assert found[name]["pictures_a_s"] == pytest.approx(1 / found[name]["s_a_picture"], rel=0.02)
            assert found[name]["runs_s"][0] == pytest.approx(pictures * found[name]["s_a_picture"], rel=0.05)


def test_what_only_a_gpu_has_is_null(record):
    phases = record["phases"]
    assert phases["busy"]["kernel_busy_share"] is None
    assert phases["busy"]["nvml_utilisation_mean"] is None
    assert phases["drawing_64_px_batch_1"]["ours"]["peak_gib"] is None
    assert phases["scoring"]["share_of_790_tflops"] is None


@pytest.fixture
def parts(monkeypatch):
    """The script's modules, imported as the script does."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from gpu_parts import clock, models, phases

    return clock, models, phases


def test_a_step_at_1024_px_is_74_tflop(parts):
    """The published figure for FLUX.1 with 512 tokens of text; at 512 px 1,536 tokens are a third of 4,608."""
    _, _, phases = parts
    assert phases.step_tflop(1024, 512) == pytest.approx(74.4, abs=0.1)
    assert phases.step_tflop(512, 512) == pytest.approx(74.4 / 3, rel=0.15)


def test_full_size_has_the_published_numbers_of_weights(parts):
    """11.9 billion in the transformer, 4.76 in T5-XXL's encoder: built without storage."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    from diffusers import FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    _, models, _ = parts
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**models.TRANSFORMER)
        t5 = T5EncoderModel(T5Config(**models.T5))
    assert models.n_weights(transformer) / 1e9 == pytest.approx(11.9, abs=0.01)
    assert models.n_weights(t5) / 1e9 == pytest.approx(4.76, abs=0.01)


def test_a_module_made_on_the_device_has_finite_weights_and_positions(parts):
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    from transformers import CLIPTextConfig, CLIPTextModel

    _, models, _ = parts
    small = {"num_hidden_layers": 1, "hidden_size": 96, "intermediate_size": 64, "vocab_size": 99}
    made = models.on_device(lambda: CLIPTextModel(CLIPTextConfig(**{**models.CLIP_TEXT, **small})), "cpu")
    assert all(bool(weight.isfinite().all()) for weight in made.parameters())
    assert {weight.dtype for weight in made.parameters()} == {torch.bfloat16}
    positions = dict(made.named_buffers())["embeddings.position_ids"]
    assert positions.tolist() == [list(range(77))]


def test_a_phase_that_fails_or_has_no_time_is_a_record(parts, tmp_path):
    clock, _, _ = parts
    journal = clock.Journal(tmp_path / "out.json", {"what": "test"}, deadline_s=100)
    journal.phase("fails", 1, lambda: 1 / 0)
    journal.phase("late", 1000, dict)
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))["phases"]
    assert found["fails"]["error"].startswith("ZeroDivisionError")
    assert found["late"]["skipped"].startswith("needs about 1000 s")


def test_the_deadline_ends_a_phase_that_hangs(tmp_path):
    out = tmp_path / "out.json"
    code = (
        f"import sys, time; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "from pathlib import Path\n"
        "from gpu_parts.clock import Journal\n"
        f"journal = Journal(Path({str(out)!r}), {{'what': 'test'}}, deadline_s=0.5)\n"
        "journal.watch()\n"
        "journal.phase('first', 0, lambda: {'n': 1})\n"
        "journal.phase('hangs', 0, lambda: time.sleep(60))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False)
    found = json.loads(out.read_text("utf-8"))
    assert done.returncode == 0
    assert found["ended"] == "at the deadline of 0.5 s"
    assert found["phases"]["first"]["n"] == 1


@pytest.mark.parametrize(
    ("spans", "share"),
    [([(0, 4), (6, 10)], 0.8), ([(0, 10), (2, 3)], 1.0), ([(0, 2), (1, 4), (8, 10)], 0.6), ([], None)],
)
def test_overlapping_kernels_count_once(parts, spans, share):
    clock, _, _ = parts
    assert clock._covered(spans) == share
