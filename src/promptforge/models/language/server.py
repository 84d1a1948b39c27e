"""Any OpenAI-compatible server as a language model: bounded concurrency, patience with an end, alarm by tokens/s.

An event loop in a thread keeps `concurrency` streams open; completions come out as they are done. Retry-After holds
back every request, not only the one that was told. When a request failed for good, a control request (same schema,
nothing of the row) tells whose fault it is: answered, it becomes the row's error; not answered, the server's, and
complete raises after it gave what was done. No address but base_url is contacted; redirects are not followed.

Not covered: answers of a server that cannot stream; several base_urls (put a balancer before them).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator

from promptforge.errors import EnvironmentFault
from promptforge.models.language.wire.chat import LOOK_S, Sampling, control, failed, messages
from promptforge.models.language.wire.stream import Hopeless, Limits, Refused, TryAgain, answer
from promptforge.protocols import Completion, Request

VERSION = 1

#: What the adapter sets itself.
_OWN = {"messages", "model", "n", "response_format", "seed", "stream", "stream_options", "structured_outputs"} | {
    "extra_body",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    *Sampling.model_fields,
}
_SECRET = re.compile(r"api.?key|authori[sz]ation|bearer|password|secret|access.?token", re.IGNORECASE)
_IN_THE_API = ("top_p", "presence_penalty", "frequency_penalty")  # the rest are vLLM's, and go into extra_body
_TELLING = 8  # first characters of a key that say too much
_REMEDY = {
    "busy": "lower concurrency, wait, or raise max_retries",
    "lost": "look at the server's log, start it again",
    "stuck": "start it again (it may say that it is healthy), or lower min_tokens_per_s if it is only slow",
    "garbage": "check that base_url is an OpenAI-compatible server that streams, and that no proxy answers for it",
}


class Params(Sampling):
    """Where the server is, what it serves, how patient to be with it."""

    base_url: str = Field(description="address of the API, mostly ending in /v1")
    model: str = Field(min_length=1, description="name by which the server knows the model")
    revision: str | None = Field(None, description="what is served under that name, e.g. a commit; part of the digest")
    api_key_env: str | None = Field(None, description="NAME of the environment variable that holds the key")
    structure: Literal["response_format", "structured_outputs"] = Field(
        "response_format", description="how the JSON schema is sent; structured_outputs is vLLM's own field"
    )
    concurrency: int = Field(32, ge=1, le=1024, description="requests in flight at once")
    connect_timeout_s: float = Field(10, gt=0, le=600, description="seconds to connect")
    first_token_s: float = Field(180, gt=0, le=86_400, description="seconds to the first token, queueing included")
    answer_s: float = Field(900, gt=0, le=86_400, description="seconds for a whole answer")
    stall_s: float = Field(30, gt=0, le=3600, description="seconds over which an answer's pace is measured")
    min_tokens_per_s: float = Field(0.5, gt=0, le=1000, description="slowest pace of an answer that is not stuck")
    max_retries: int = Field(6, ge=0, le=100, description="tries after the first, for one request")
    backoff_s: float = Field(0.5, gt=0, le=600, description="pause before the first retry; each later one is doubled")
    max_wait_s: float = Field(60, gt=0, le=86_400, description="longest pause, the server's Retry-After included")
    price_in: float | None = Field(None, ge=0, description="price of a million tokens read")
    price_out: float | None = Field(None, ge=0, description="price of a million tokens written")
    extra_body: dict[str, JsonValue] = Field(default_factory=dict, description="more fields of the request body")

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if {"@", "?", "#"} & set(value):  # before anything that repeats the value: a secret may be in it
            raise ValueError("holds a user, a query or a fragment; expected the bare address, the key in api_key_env")
        try:
            parts = urlsplit(value)
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            fits = False
        if not fits or not value.isprintable() or " " in value:
            raise ValueError(f"is {value!r}; expected http:// or https:// and a host, such as http://127.0.0.1:8000/v1")
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            # The value is not repeated: it may be a key. Capitals alone, since many keys would pass for other names.
            raise ValueError(
                "is no name of an environment variable in capitals; a key never stands in a recipe: export it, and"
                " give the variable's name, such as OPENAI_API_KEY"
            )
        return value

    @field_validator("extra_body")
    @classmethod
    def _is_json_of_others(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(_OWN & value.keys()):
            raise ValueError(f"sets {', '.join(own)}, which a field of this entry or the request decides; leave it out")
        if secret := sorted(name for name in _names_in(value) if _SECRET.search(name)):
            raise ValueError(
                f"sets {', '.join(secret)}; a recipe holds no secrets: name the key's variable in api_key_env"
            )
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError("holds nan or infinity, which JSON has not") from None
        return value


def identity(params: Params) -> dict[str, Any]:
    """What decides answers; the address, patience and prices do not."""
    return {
        "kind": "server",
        "version": VERSION,
        "model": params.model,
        "revision": params.revision,
        "sampling": params.sampling(),
        "structure": params.structure,
        "extra_body": params.extra_body,
    }


def _names_in(value: Any) -> Iterator[str]:
    """Names of the fields of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names_in(item)


def key_of(params: Params) -> str | None:
    """The key of the environment, None where the recipe names none. EnvironmentFault where it is not set or is none."""
    if params.api_key_env is None:
        return None
    key = os.environ.get(params.api_key_env, "").strip()
    if not key:
        raise EnvironmentFault(f"{params.api_key_env} is not set; export it with the key for {params.base_url}")
    if not (key.isascii() and key.isprintable()):
        raise EnvironmentFault(f"{params.api_key_env} holds characters that no key has; export it again")
    return key


def is_loopback(params: Params) -> bool:
    """Whether the server is on this machine, where no proxy of the environment could reach it."""
    return urlsplit(params.base_url).hostname in ("127.0.0.1", "::1", "localhost")


def build(params: Params) -> Server:
    """The client; the server is not asked yet. EnvironmentFault where the library or the key is missing."""
    # The library wants a key, and would take OPENAI_API_KEY, meant for another server.
    key = key_of(params) or "none"
    if find_spec("openai") is None:
        raise EnvironmentFault("openai is not installed; install the models extra: make setup-models")
    return Server(params, key)


class Server:
    """A LanguageModel behind an API; holds no connection between calls of complete."""

    def __init__(self, params: Params, key: str) -> None:
        self.identity: Mapping[str, Any] = identity(params)
        self._params, self._key = params, key

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion] | None]:
        """(place, completion) as each is done, None in a second without. Closing the iterator ends what is in flight.

        Raises EnvironmentFault where the server is lost, stuck, or answers with garbage, after what was done.
        """
        if requests:
            yield from _Flight(self._params, self._key, requests).results()

    def sleep(self) -> None:
        """Nothing to free: the memory is the server's."""


def body(params: Params, request: Request) -> dict[str, Any]:
    """The arguments of one call: the request, the sampling, the schema."""
    sampling = params.sampling()
    extra = {**params.extra_body, **{name: value for name, value in sampling.items() if name not in _IN_THE_API}}
    if params.structure == "structured_outputs":
        extra["structured_outputs"] = {"json": dict(request.schema)}
        form: dict[str, Any] = {}
    else:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", request.task)[:64] or "answer"
        schema = {"name": name, "schema": dict(request.schema), "strict": True}
        form = {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {
        "model": params.model,
        "messages": messages(request),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: sampling[name] for name in _IN_THE_API if name in sampling},
        **form,
        "extra_body": extra,
    }


class _Lost(Exception):
    """The server is lost; carries the message for the caller."""


class _Flight:
    """One call of complete: a loop in a thread, as many workers as may be in flight, a queue to the caller."""

    def __init__(self, params: Params, key: str, requests: Sequence[Request]) -> None:
        self._params, self._key, self._requests = params, key, requests
        self._limits = Limits(params.first_token_s, params.answer_s, params.stall_s, params.min_tokens_per_s)
        self._done: queue.SimpleQueue[tuple[int, Completion] | BaseException | None] = queue.SimpleQueue()
        self._places = iter(range(len(requests)))
        self._sound: set[tuple[str, bool]] = set()  # (task, has a picture) of which the server answered a request
        self._not_before = 0.0
        self._ready = threading.Event()  # that `_loop` is known, or never will be
        self._loop: asyncio.AbstractEventLoop | None = None

    def results(self) -> Iterator[tuple[int, Completion] | None]:
        thread = threading.Thread(target=self._thread, name="language-model", daemon=True)
        thread.start()
        try:
            while True:
                try:
                    item = self._done.get(timeout=LOOK_S)
                except queue.Empty:
                    yield None
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._ready.wait()
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed already
                    self._loop.call_soon_threadsafe(self._task.cancel)
            thread.join()

    def _thread(self) -> None:
        last: BaseException | None = None
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except _Lost as exc:
            last = EnvironmentFault(str(exc))
            if (
                self._params.api_key_env is None
            ):  # a traceback goes into logs, and the library's error may quote the key
                last.__cause__ = exc.__cause__
        except BaseException as exc:
            last = exc
        finally:
            self._ready.set()
            self._done.put(last)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._ended = asyncio.Event()
        self._ready.set()
        async with self._client() as client:
            self._api = client
            workers = [
                asyncio.create_task(self._work()) for _ in range(min(self._params.concurrency, len(self._requests)))
            ]
            try:
                done, going = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                self._ended.set()  # no new try; what is being answered may end, within one window
                if going:
                    await asyncio.wait(going, timeout=self._params.stall_s)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
            for worker in sorted(done, key=workers.index):
                worker.result()

    def _client(self) -> Any:
        import openai

        http = openai.DefaultAsyncHttpxClient(
            follow_redirects=False,
            trust_env=not is_loopback(self._params),
            timeout=openai.Timeout(None, connect=self._params.connect_timeout_s),  # the rest is watched by tokens/s
        )
        client = openai.AsyncOpenAI(
            api_key=self._key, base_url=self._params.base_url, max_retries=0, timeout=http.timeout, http_client=http
        )
        client.organization = client.project = None  # of OPENAI_ORG_ID and OPENAI_PROJECT_ID, meant for another server
        return client

    async def _work(self) -> None:
        for place in self._places:
            completion = await self._settle(self._requests[place], place)
            if completion is None:
                return
            self._done.put((place, completion))

    async def _settle(self, request: Request, place: int) -> Completion | None:
        """The completion, or None where the flight ended before there was one."""
        kind = (request.task, request.picture is not None)
        try:
            completion = await self._try(request, f"{place}/{request.subject}", self._params.max_retries)
        except Refused as exc:
            if kind in self._sound:
                return failed(self._safe(exc))
            return await self._blame(request, exc, "check model, max_tokens, schema and extra_body against its message")
        except Hopeless as exc:
            raise self._lost(exc, exc.remedy) from exc
        except TryAgain as exc:
            if exc.trouble == "busy":  # says nothing about the row, and asking more would not help
                raise self._lost(exc, _REMEDY["busy"]) from exc
            return await self._blame(request, exc, _REMEDY[exc.trouble])
        if completion is not None:
            self._sound.add(kind)
        return completion

    async def _blame(self, request: Request, fault: Exception, remedy: str) -> Completion | None:
        """The row's error where the server answers a control request; else the server is at fault."""
        try:
            answered = await self._try(control(request), "control", min(self._params.max_retries, 1))
        except (Refused, Hopeless, TryAgain) as exc:
            raise self._lost(fault, remedy, f"; a control request failed too ({self._safe(exc)})") from exc
        if answered is None:
            return None
        self._sound.add((request.task, request.picture is not None))
        return failed(self._safe(fault))

    def _lost(self, fault: Exception, remedy: str, more: str = "") -> _Lost:
        return _Lost(
            f"{self._params.base_url}, model {self._params.model!r}: {self._safe(fault)}{more}; {remedy}; then run"
            " again: what was answered is not asked again"
        )

    def _safe(self, fault: Exception) -> str:
        """The message without the key, which servers like to repeat, nor a beginning of it, where it was cut."""
        if self._params.api_key_env is None:
            return str(fault)
        return re.sub(re.escape(self._key[:_TELLING]) + r"\S*", "***", str(fault))

    async def _try(self, request: Request, name: str, n_retries: int) -> Completion | None:
        # Once for all tries, and a picture's PNG (30 ms at 1024 px) beside the loop, which times the streams.
        call = (
            body(self._params, request)
            if request.picture is None
            else await asyncio.to_thread(body, self._params, request)
        )
        for number in range(n_retries + 1):
            if await self._paused():
                return None
            try:
                return await answer(self._api, call, self._limits)
            except TryAgain as exc:
                if number == n_retries:
                    raise TryAgain(f"{number + 1} tries failed, the last with: {exc}", exc.trouble) from exc
                await self._hold_back(exc, name, number)
        raise AssertionError("a loop over at least one try")

    async def _hold_back(self, fault: TryAgain, name: str, number: int) -> None:
        """Wait before the next try: as long as the server asked, else twice as long each time, less a random part."""
        params = self._params
        # A generator of its own: the pauses of many workers must differ, and touch no one else's randomness.
        share = random.Random(f"{name}/{number}").random()
        if fault.wait_s is None:
            pause = min(params.max_wait_s, params.backoff_s * 2.0 ** min(number, 60)) * (0.5 + share / 2)
        elif fault.wait_s > params.max_wait_s:
            raise Hopeless(
                f"{fault}; it asks to wait {fault.wait_s:g} s, more than max_wait_s = {params.max_wait_s:g}",
                "wait, or raise max_wait_s",
            ) from fault
        else:
            self._not_before = max(self._not_before, asyncio.get_running_loop().time() + fault.wait_s)
            pause = fault.wait_s + params.backoff_s * share
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), pause)

    async def _paused(self) -> bool:
        """Wait until the server wants requests again. Whether the flight ended instead."""
        while not self._ended.is_set() and (left := self._not_before - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), left)
        return self._ended.is_set()
