"""Phases within a deadline, timing on a device, and how busy a GPU was."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """The record on disk: written anew after each phase, and by a watchdog at the deadline."""

    def __init__(self, out: Path, head: Record, deadline_s: float, only: str = "") -> None:
        self._out = out
        self._only = re.compile(only)
        self._start = time.monotonic()
        self._deadline_s = deadline_s
        self._guard = threading.Lock()
        self.record: Record = {**head, "phases": {}}
        out.parent.mkdir(parents=True, exist_ok=True)

    @property
    def left_s(self) -> float:
        """Seconds to the deadline."""
        return self._deadline_s - (time.monotonic() - self._start)

    def write(self, **more: Any) -> None:
        """Write the record whole."""
        with self._guard:
            self.record.update(more)
            temporary = self._out.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.record, indent=1, default=str) + "\n", "utf-8")
            temporary.replace(self._out)

    def watch(self) -> None:
        """End the process at the deadline with what there is: a phase may hang in a compiler or a kernel."""

        def end() -> None:
            try:
                self.write(ended=f"at the deadline of {self._deadline_s:g} s")
            finally:
                os._exit(0)

        timer = threading.Timer(self._deadline_s, end)
        timer.daemon = True
        timer.start()

    def phase(self, name: str, needs_s: float, measure: Callable[[], Record]) -> None:
        """Run one phase; an error or a lack of time becomes its record. `build` is part of every choice of phases."""
        if name != "build" and not self._only.search(name):
            return
        if self.left_s < needs_s:
            found: Record = {"skipped": f"needs about {needs_s:.0f} s, {self.left_s:.0f} s were left"}
        else:
            begin = time.monotonic()
            try:
                found = measure()
            except Exception as exc:  # a benchmark keeps what it has
                found = {"error": f"{type(exc).__name__}: {exc}"[:500], "at": traceback.format_exc()[-1500:]}
            found["phase_s"] = round(time.monotonic() - begin, 2)
        self.record["phases"][name] = found
        self.write()


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def seconds(run: Callable[[], Any], device: str, n: int = 1) -> float:
    """Mean seconds of `n` runs, the device idle before and after."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(n):
        run()
    synchronize(device)
    return (time.perf_counter() - start) / n


def median_ms(run: Callable[[], Any], device: str, n: int = 5) -> float:
    """Median milliseconds of `n` runs after one that warms up."""
    run()
    return round(1000 * sorted(seconds(run, device) for _ in range(n))[n // 2], 3)


def alternating(runs: dict[str, Callable[[], Any]], device: str, n: int) -> dict[str, list[float]]:
    """Seconds of each run, `n` times: forwards, then backwards, so that a drift of the clock falls on all alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(n):
        for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(seconds(runs[name], device))
    return found


def peak_gib(device: str, run: Callable[[], Any]) -> float | None:
    """Largest memory allocated during a run, weights included; None on a CPU."""
    if not device.startswith("cuda"):
        run()
        return None
    import torch

    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return round(torch.cuda.max_memory_allocated() / 2**30, 2)


def kernel_busy_share(run: Callable[[], Any], device: str) -> float | None:
    """Share of the run's time in which a kernel or copy was on the GPU, by torch.profiler; None on a CPU.

    The union of their intervals from the first start to the last end, so launch gaps within count as idle.
    """
    if not device.startswith("cuda"):
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        synchronize(device)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if "cuda" in str(event.device_type).lower()
    )
    return _covered(spans)


def _covered(spans: Sequence[tuple[float, float]]) -> float | None:
    if not spans:
        return None
    busy, reached = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return round(busy / (reached - spans[0][0]), 4) if reached > spans[0][0] else None


@contextmanager
def utilisation(device: str, every_s: float = 0.1) -> Iterator[list[float]]:
    """Samples of NVML's utilisation in percent while the block runs; empty on a CPU and without nvidia-ml-py.

    NVML's figure is the share of its last window (up to a second) in which any kernel ran.
    """
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        import torch

        with suppress(Exception):  # no pynvml, no permission: no figure
            while not done.wait(every_s):
                samples.append(float(torch.cuda.utilization(device)))

    thread = threading.Thread(target=sample, daemon=True)
    if device.startswith("cuda"):
        thread.start()
    try:
        yield samples
    finally:
        done.set()
        if thread.ident is not None:
            thread.join(5)
