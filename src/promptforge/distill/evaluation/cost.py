"""What both text encoders cost: parameters, weights in memory, memory while encoding, time.

    parameters   count, with the student's projection
    weight_mib   MiB of the weights as they are used here
    peak_mib     MiB that encoding one batch takes on top of all weights; a GPU alone tells it, null on a CPU
    ms_1, ms_n   milliseconds for each prompt, median of REPEATS, alone and `batch` at once, at the teacher's length

Clock times differ from run to run; they are measured once and then kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from promptforge.distill.evaluation.velocity import at_rest
from promptforge.distill.teacher import Teacher
from promptforge.models.torch_setup import load_torch

REPEATS = 11
WARM_UP = 2


def cost_of(teacher: Teacher, student: Any, texts: Sequence[str], batch: int) -> dict[str, dict[str, Any]]:
    """The costs of "teacher" and "student"; `texts` are at least one, and repeated to fill a batch."""
    several = [texts[n % len(texts)] for n in range(batch)]
    with teacher._loaded.encoding():
        own = _cost(teacher.pipe.text_encoder_2, teacher, several)
    return {"teacher": own, "student": _cost(student, teacher, several)}


def _cost(encoder: Any, teacher: Teacher, texts: Sequence[str]) -> dict[str, Any]:
    weights = (*encoder.parameters(), *encoder.buffers())
    one, many = (teacher.tokens(some, teacher.length) for some in (texts[:1], texts))
    with at_rest(encoder):
        return {
            "parameters": sum(each.numel() for each in encoder.parameters()),
            "weight_mib": sum(each.numel() * each.element_size() for each in weights) / 2**20,
            "batch": len(texts),
            "ms_1": _milliseconds(encoder, one, teacher.device),
            "ms_n": _milliseconds(encoder, many, teacher.device) / len(texts),
            "peak_mib": _peak(encoder, many, teacher.device),
        }


def _milliseconds(encoder: Any, ids: Any, device: str) -> float:
    torch = load_torch()
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    times = []
    with torch.no_grad():
        for _ in range(WARM_UP + REPEATS):
            wait()
            start = time.perf_counter()
            encoder(ids)
            wait()
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[WARM_UP:])


def _peak(encoder: Any, ids: Any, device: str) -> float | None:
    torch = load_torch()
    if device == "cpu":
        return None
    with torch.no_grad():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        encoder(ids)
        torch.cuda.synchronize()
    return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
