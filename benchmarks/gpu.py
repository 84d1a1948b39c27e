"""What real models cost on one GPU: FLUX.1 at full size with random weights, CLIP ViT-L/14, the teacher's response.

    python benchmarks/gpu.py                  # one GPU with 80 GB or more; ends within 9 minutes, needs no network
    python benchmarks/gpu.py --tiny           # every phase on the CPU at a tiny size: shows that it runs, no more

Models are made on the GPU from their published configs; random weights take the time of trained ones. Pictures are
drawn by the repository's own code and, in turns within the same process, by a bare call of diffusers on the same
weights. Writes a JSON after each phase, so that a deadline or a fault loses one phase at most. Phases, their units
and how each is measured stand in gpu_parts/phases.py.
Not measured: what trained weights would change (pictures, step caching), several GPUs, loading from disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in (ROOT, ROOT / "src", ROOT / "benchmarks"):  # the tests' tiny models; the package where not installed
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from gpu_parts import clock, phases  # noqa: E402

from promptforge.models.torch_setup import device_of, load_torch  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "triton", "numpy")


def head_of(device: str, tiny: bool) -> clock.Record:
    """First fields of the record: what it is, device, versions."""
    torch = load_torch()
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    what = "random weights at full size; times and memory as with trained ones, pictures mean nothing"
    if tiny:
        what = "NO GPU FIGURES: every phase run on a CPU at a tiny size, to show that the script works"
    found: clock.Record = {"what": what, "device": "cpu", "python": platform.python_version(), "versions": versions}
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        found |= {"device": properties.name, "device_gib": round(properties.total_memory / 2**30, 1)}
        found |= {"cuda": torch.version.cuda, "capability": f"{properties.major}.{properties.minor}"}
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the phases and write the record; 2 where there is no GPU for the full size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny models on the CPU")
    parser.add_argument("--out", type=Path, help="the JSON; by default benchmarks/results/gpu_<device>.json")
    parser.add_argument("--minutes", type=float, default=8.7, help="deadline")
    parser.add_argument("--steps", type=int, default=28, help="denoising steps")
    parser.add_argument("--only", default="", help="phases whose name matches this regular expression, e.g. memory")
    options = parser.parse_args(arguments)
    torch = load_torch()
    device = "cpu" if options.tiny else device_of(0)
    if device == "cpu" and not options.tiny:
        print("no GPU here; python benchmarks/gpu.py --tiny runs every phase on the CPU", file=sys.stderr)
        return 2
    if options.tiny:
        torch.set_num_threads(1)  # two threads on tensors this small wait for each other
    loading_quiet()
    head = head_of(device, options.tiny)
    name = "tiny_cpu" if options.tiny else re.sub(r"\W+", "_", str(head["device"]).lower())
    out = options.out or RESULTS / f"gpu_{name}.json"
    journal = clock.Journal(out, head, 60 * options.minutes, options.only)
    journal.watch()
    with tempfile.TemporaryDirectory(prefix="promptforge-gpu-") as name:
        model, work = Path(name) / "model", Path(name) / "work"
        for folder in (model, work):
            folder.mkdir()
        bench = phases.Bench(
            tiny=options.tiny,
            device=device,
            model=model,
            work=work,
            sizes=(64,) if options.tiny else (512, 1024),
            batches=(1, 2) if options.tiny else (1, 2, 4),
            steps=2 if options.tiny else options.steps,
            n=1 if options.tiny else 2,
        )
        phases.run_all(bench, journal)
    journal.write(ended="after the last phase")
    failed = [name for name, found in journal.record["phases"].items() if "error" in found]
    for name, found in journal.record["phases"].items():
        print(f"{name}: {found.get('error') or found.get('skipped') or 'done'} ({found.get('phase_s', 0)} s)")
    print(f"written to {out}")
    return 1 if failed else 0


def loading_quiet() -> None:
    """No bars and warnings of the libraries; no network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from promptforge.models.diffusion.loading import quiet

    quiet()


if __name__ == "__main__":
    sys.exit(main())
