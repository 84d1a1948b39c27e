"""vLLM in this process: thousands of requests in the engine at once, answers as they are done, asleep in between.

The model's files are found first (models/weights), so the engine gets a folder and no hub. It is loaded at the first
request, since a run whose answers are all kept needs none; the first load of 8 billion weights takes a minute.
The guidance backend without free white space is the default: xgrammar let raw control characters into strings that
have a maxLength (0 of 4 answers of a random model parsed; 4 of 4 here).

Not covered: a kernel that hangs while the engine is in this process, several models in one process, adapters (LoRA),
engines on other machines (use kind = "server").
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.language.wire.chat import (
    LOOK_S,
    Sampling,
    control,
    failed,
    messages,
    one_line,
    whole_characters,
)
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Completion, Request

VERSION = 1

#: Set before vllm is imported, unless the caller's environment says otherwise. Engines in processes of their own are
#: spawned: one forked out of a process with threads, as a flow's is, can hang at its start.
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
#: Without tensor parallelism the engine stays in this process, which schedules equal requests in equal order.
_ALONE = "VLLM_ENABLE_V1_MULTIPROCESSING"


class Params(Sampling):
    """Which model, and how much of the accelerator it may take."""

    model: str = Field(min_length=1, description="folder with the model, or its hub id")
    revision: str | None = Field(None, description="40-digit commit of the hub id; none for a folder")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="type of weights and sums")
    max_model_len: int | None = Field(None, ge=16, description="tokens of request and answer; the model's own if unset")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of the accelerator's memory")
    tensor_parallel: int = Field(1, ge=1, le=64, description="accelerators that share the model")
    enforce_eager: bool = Field(False, description="no captured graphs: starts sooner, answers slower")
    enable_sleep_mode: bool = Field(
        True,
        description="may leave the accelerator between uses, into as much of the machine's memory as it has weights",
    )
    backend: Literal["guidance", "xgrammar", "outlines", "auto"] = Field(
        "guidance", description="what holds answers to the JSON schema"
    )
    in_flight: int = Field(2048, ge=1, le=65_536, description="requests given to the engine at once")
    stall_s: float = Field(
        600, gt=0, le=86_400, description="seconds without a word from an engine in processes of its own: it is dead"
    )

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        try:
            weights.check(self.model, self.revision)
        except ConfigError as exc:
            raise ValueError(f"model: {exc}") from exc
        return self


def identity(params: Params) -> dict[str, Any]:
    """What decides answers: weights, type, length, sampling, backend; not the memory or the accelerators' number."""
    return {
        "kind": "vllm",
        "version": VERSION,
        "weights": weights.identity(params.model, params.revision),
        "dtype": params.dtype,
        "max_model_len": params.max_model_len,
        "sampling": params.sampling(),
        "backend": params.backend,
    }


def build(params: Params) -> Vllm:
    """The model with its files here, the engine not yet loaded. EnvironmentFault where vLLM or a file is missing."""
    if find_spec("vllm") is None:
        raise EnvironmentFault(
            "vllm is not installed; install it in an environment of its own (pip install vllm, then this package), or"
            ' run it as a server and name that in the recipe: kind = "server", base_url = "http://127.0.0.1:8000/v1"'
        )
    return Vllm(params, weights.require_safe(weights.locate(params.model, params.revision)))


class Vllm:
    """A LanguageModel in this process. Not for use from two threads at once."""

    def __init__(self, params: Params, folder: Path) -> None:
        self.identity: Mapping[str, Any] = identity(params)
        self._params, self._folder = params, folder
        self._llm: Any = None
        self._is_asleep = False

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion] | None]:
        """(place, completion) as the engine is done with each, None in a second without.

        Closing the iterator takes the rest out of the engine.
        Raises EnvironmentFault where the engine cannot be loaded, dies, or takes no request at all.
        """
        if not requests:
            return
        engine = self._awake()
        places: dict[str, int] = {}  # the engine's number of a request -> its place
        names: dict[str, str] = {}  # the same -> the name by which it is aborted
        waiting = iter(range(len(requests)))
        spoke = time.monotonic()
        try:
            while True:
                while len(places) < self._params.in_flight and (place := next(waiting, None)) is not None:
                    try:
                        name = self._enqueue(requests[place])
                    except Exception as exc:  # a template, a tokenizer, the engine: the control request tells which
                        self._check_model(requests[place], exc)
                        yield place, failed(f"the model does not take it: {one_line(str(exc))}")
                        continue
                    number = name.split("-")[0]
                    places[number], names[number] = place, name
                if not places:
                    return
                if time.monotonic() - spoke > LOOK_S:
                    spoke = time.monotonic()
                    yield None
                for output in self._step(engine):
                    if output.finished and output.request_id in places:
                        names.pop(output.request_id)
                        spoke = time.monotonic()
                        yield places.pop(output.request_id), _completion(output)
        finally:
            if names and self._llm is not None:
                engine.abort_request(sorted(names.values()), internal=True)

    def sleep(self) -> None:
        """Move the weights to the machine's memory and drop the cache; `complete` brings them back."""
        if self._llm is not None and not self._is_asleep and self._may_sleep():
            self._llm.sleep(level=1)
            self._is_asleep = True

    def _awake(self) -> Any:
        if self._llm is None:
            self._llm = self._load()
        elif self._is_asleep:
            try:
                self._llm.wake_up()
            except Exception as exc:
                raise self._dead("could not take the accelerator's memory back", exc) from exc
        self._is_asleep = False
        return self._llm.llm_engine

    def _load(self) -> Any:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self._params.tensor_parallel == 1:
            os.environ.setdefault(_ALONE, "0")
        load_torch()
        import vllm

        params = self._params
        structured: dict[str, Any] = {"backend": params.backend}
        if params.backend in ("guidance", "xgrammar"):
            structured["disable_any_whitespace"] = True
        try:
            return vllm.LLM(
                str(self._folder),
                load_format="safetensors",
                trust_remote_code=False,
                dtype=params.dtype,
                max_model_len=params.max_model_len,
                gpu_memory_utilization=params.gpu_memory_utilization,
                tensor_parallel_size=params.tensor_parallel,
                enforce_eager=params.enforce_eager,
                enable_sleep_mode=self._may_sleep(),
                structured_outputs_config=structured,
                limit_mm_per_prompt={"image": 1, "video": 0},
            )
        except Exception as exc:
            raise self._dead("could not be loaded", exc) from exc

    def _may_sleep(self) -> bool:
        """Whether the recipe wants it and the accelerator can; a CPU build cannot, and has nothing to free."""
        from vllm.platforms import current_platform

        return self._params.enable_sleep_mode and bool(current_platform.is_sleep_mode_available())

    def _enqueue(self, request: Request) -> str:
        """Give one request to the engine; the name by which it knows it: our number, a hyphen, chance."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        sampling = SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=request.seed,
            structured_outputs=StructuredOutputsParams(json=dict(request.schema)),
            **self._params.sampling(),
        )
        (name,) = self._llm.enqueue_chat([messages(request)], [sampling], use_tqdm=False)
        return str(name)

    def _check_model(self, request: Request, fault: Exception) -> None:
        """EnvironmentFault where the engine does not take the control request either."""
        try:
            name = self._enqueue(control(request))
        except Exception as exc:
            raise EnvironmentFault(
                f"{self._params.model}: takes no request: {one_line(str(fault))}; expected an instruct model with a"
                " chat template (and, for pictures, one that sees), a schema that its backend knows, and a"
                " max_model_len that fits"
            ) from exc
        self._llm.llm_engine.abort_request([name], internal=True)

    def _step(self, engine: Any) -> Sequence[Any]:
        try:
            if os.environ.get(_ALONE) == "0":
                return list(engine.step())
            return _within(self._params.stall_s, engine.step)
        except Exception as exc:
            raise self._dead("died while it answered", exc) from exc

    def _dead(self, what: str, exc: Exception) -> EnvironmentFault:
        """The message; the engine is dropped, so that a later `complete` loads it anew."""
        self._llm = None
        return EnvironmentFault(
            f"{self._params.model}: vLLM {what} ({type(exc).__name__}: {one_line(str(exc))}); where memory is short"
            " lower max_model_len or gpu_memory_utilization, or raise tensor_parallel; then run again: what was"
            " answered is not asked again"
        )


def _within(seconds: float, step: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """What the call returns, or TimeoutError: vLLM 0.32 waits for ever for an engine process that was killed."""
    said: queue.SimpleQueue[Sequence[Any] | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            said.put(list(step()))
        except Exception as exc:
            said.put(exc)

    threading.Thread(target=work, name="vllm-step", daemon=True).start()
    try:
        result = said.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no word for stall_s = {seconds:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _completion(output: Any) -> Completion:
    answer = output.outputs[0]
    n_in, n_out = len(output.prompt_token_ids or ()), len(answer.token_ids)
    if answer.finish_reason not in ("stop", "length"):
        return failed(f"the engine ended it with {answer.finish_reason!r} after {n_out} tokens")
    return Completion(whole_characters(answer.text), n_in, n_out, finish=answer.finish_reason)
