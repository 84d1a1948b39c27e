"""One try at one answer, read from a chat-completions stream, with an alarm by tokens a second.

/health says nothing about the engine behind it, and a stuck one keeps its connections open, so the answer itself is
watched: its first token is due after `first_token_s`, and over any `stall_s` it must grow by `min_tokens_per_s`.
A try ends in a Completion, in Refused (this request is not wanted), TryAgain or Hopeless (no request would be).

Tokens are counted by the server's usage; without it the counts are 0, since an estimate would pass for a fact.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from promptforge.models.language.wire.chat import FAILED, one_line, whole_characters
from promptforge.protocols import Completion

#: For the alarm alone: servers put several tokens into a chunk, and a token is about this many characters.
CHARACTERS_A_TOKEN = 4
#: An answer longer than this, times max_tokens, is no answer; the longest tokens of common vocabularies are blanks.
MOST_CHARACTERS_A_TOKEN = 128

Trouble = Literal["busy", "lost", "stuck", "garbage"]


class Refused(Exception):
    """The server does not take this request: 400, 413 or 422."""


class Hopeless(Exception):
    """The server takes no request of ours: wrong key, wrong model, wrong address."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class TryAgain(Exception):
    """Another try may go well; `wait_s` is what the server asked for, if it did."""

    def __init__(self, message: str, trouble: Trouble, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.trouble: Trouble = trouble
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Limits:
    """When an answer counts as stuck; seconds, and tokens a second."""

    first_token_s: float
    answer_s: float
    stall_s: float
    min_tokens_per_s: float


@dataclass
class _Pace:
    """How fast the answer grew over the last `stall_s`."""

    limits: Limits
    started: float
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, tokens: int) -> None:
        """Raises TryAgain where a whole window lies behind and too little came in it."""
        self.seen.append((now, tokens))
        since = now - self.limits.stall_s
        while self.seen[0][0] < since:
            self.seen.popleft()
        rate = sum(count for _, count in self.seen) / self.limits.stall_s
        if self.started <= since and rate < self.limits.min_tokens_per_s:
            raise TryAgain(
                f"the answer grew by {rate:.2g} tokens/s over {self.limits.stall_s:g} s, under min_tokens_per_s ="
                f" {self.limits.min_tokens_per_s:g}, on a healthy connection",
                "stuck",
            )


@dataclass
class _Answer:
    """What came so far."""

    max_characters: int
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    n_characters: int = 0
    finish: str | None = None
    n_in: int = 0
    n_out: int = 0

    def take(self, chunk: Any) -> int:
        """Add a chunk; about how many tokens it held, reasoning that is no part of the answer included."""
        usage, choices = getattr(chunk, "usage", None), getattr(chunk, "choices", None)
        if usage is not None:
            self.n_in, self.n_out = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        if not isinstance(choices, list):
            raise TryAgain(f"a chunk without choices: {one_line(repr(chunk), 120)}", "garbage")
        if len(choices) > 1 or any(choice.index != 0 for choice in choices):
            raise TryAgain("an answer with more than the one choice that was asked for", "garbage")
        return sum(self._grow(choice) for choice in choices)

    def _grow(self, choice: Any) -> int:
        delta = choice.delta
        grown = 0
        for part, name in ((self.text, "content"), (self.refusal, "refusal"), (None, "reasoning_content")):
            piece = getattr(delta, name, None)
            if piece:
                grown += len(piece)
                if part is not None:
                    part.append(piece)
        self.n_characters += grown
        if self.n_characters > self.max_characters:
            raise TryAgain(f"over {self.max_characters} characters, more than max_tokens allows", "garbage")
        if choice.finish_reason is not None:
            self.finish = str(choice.finish_reason)
        return math.ceil(grown / CHARACTERS_A_TOKEN)

    def completion(self) -> Completion:
        """Raises TryAgain where the stream ended before the answer did."""
        if self.finish is None:
            raise TryAgain(f"the stream ended after {self.n_characters} characters, before the answer did", "garbage")
        text = whole_characters("".join(self.text))
        if self.refusal or self.finish == "content_filter":
            said = one_line("".join(self.refusal)) or "the server's content filter"
            return Completion(text, self.n_in, self.n_out, finish=FAILED, error=f"refused: {said}")
        return Completion(text, self.n_in, self.n_out, finish=self.finish)


def _count(usage: Any, name: str) -> int:
    count = getattr(usage, name, 0)
    return count if isinstance(count, int) and count >= 0 else 0


async def answer(client: Any, body: Mapping[str, Any], limits: Limits) -> Completion:
    """The completion of one streamed request. `client`: an AsyncOpenAI that does not retry."""
    import openai

    got = _Answer(MOST_CHARACTERS_A_TOKEN * int(body["max_tokens"]) + 4096)
    try:
        await _read(client, body, limits, got)
    except openai.APIStatusError as exc:
        raise _by_status(exc) from exc
    except (openai.APIError, TryAgain, ValueError, TypeError, AttributeError, RecursionError) as exc:
        if got.finish is None:  # else the answer is whole, and only the usage or the end mark is missing
            raise _broken(exc) from exc
    return got.completion()


async def _read(client: Any, body: Mapping[str, Any], limits: Limits, got: _Answer) -> None:
    clock = asyncio.get_running_loop().time
    started = clock()
    end, pace = started + limits.answer_s, _Pace(limits, started)
    try:
        async with asyncio.timeout_at(min(end, started + limits.first_token_s)) as alarm:
            stream = await client.chat.completions.create(**body)
            async with stream:
                kind = stream.response.headers.get("content-type", "")
                if not kind.startswith("text/event-stream"):
                    raise TryAgain(f"content type {one_line(kind, 60)!r}, expected text/event-stream", "garbage")
                async for chunk in stream:
                    n_tokens = got.take(chunk)
                    if n_tokens or got.finish is not None:
                        now = clock()
                        if not pace.seen:
                            pace.started = now
                        if got.finish is None:
                            pace.add(now, n_tokens)
                        alarm.reschedule(min(end, now + limits.stall_s))
    except TimeoutError as exc:
        raise _late(limits, got, clock() >= end) from exc


def _late(limits: Limits, got: _Answer, is_over: bool) -> TryAgain:
    if is_over:
        return TryAgain(f"no whole answer within answer_s = {limits.answer_s:g} s", "stuck")
    if not got.n_characters:
        return TryAgain(f"no token within first_token_s = {limits.first_token_s:g} s", "stuck")
    return TryAgain(
        f"no token for stall_s = {limits.stall_s:g} s after {got.n_characters} characters, on a healthy connection",
        "stuck",
    )


def _broken(exc: Exception) -> Exception:
    """What a failure inside an answer means."""
    import openai

    if isinstance(exc, TryAgain):
        return exc
    if isinstance(exc, openai.APIConnectionError):
        cause = exc.__cause__ or exc
        said = one_line(str(cause)) or "closed"
        return TryAgain(f"connection: {said} ({type(cause).__name__})", "lost")
    if isinstance(exc, openai.APIError):  # an error that the stream carries, with status 200 long sent
        body = exc.body if isinstance(exc.body, Mapping) else {}
        said = f"error inside the stream: {one_line(exc.message)}"
        return Refused(said) if str(body.get("code")) in {"400", "413", "422"} else TryAgain(said, "lost")
    return TryAgain(
        f"an answer that is no chat completion ({type(exc).__name__}: {one_line(str(exc), 120)})", "garbage"
    )


def _by_status(exc: Any) -> Exception:
    """What an HTTP status means: this request, a pause, or the end."""
    status = int(exc.status_code)
    said = f"HTTP {status}: {one_line(exc.message.removeprefix(f'Error code: {status} - '))}"
    if status in (400, 413, 422):
        return Refused(said)
    if status in (401, 403):
        return Hopeless(said, "name the variable that holds a key for this server in api_key_env")
    if status in (404, 405):
        return Hopeless(said, "check base_url (it mostly ends in /v1) and model against the server's list at /models")
    if status in (408, 409, 425, 429) or status >= 500:
        wait_s = retry_after(exc.response.headers, datetime.now(UTC))
        return TryAgain(said, "busy" if status == 429 else "lost", wait_s)
    if 300 <= status < 400:
        where = one_line(exc.response.headers.get("location", "nowhere"), 120)
        return Hopeless(f"HTTP {status}: sent on to {where}, which is never followed", "give the final base_url")
    return Hopeless(said, "expected an OpenAI-compatible server at base_url")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server asks to wait: retry-after-ms, or Retry-After in seconds or as a date; None for none."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        said = headers.get(name, "")
        try:
            seconds = float(said) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp(), 0.0)
