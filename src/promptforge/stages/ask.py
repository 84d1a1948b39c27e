"""ask: questions to a language model, each answered once in the life of a run folder.

An answer is a row of the table responses under the name of its request: hash(model, task, variant, subject). Rows are
committed every `increment` answers or 30 s and before anything is made of them, so a kill costs at most that many, what
came in while they were written, what was in flight, and the tries of requests whose first answer was malformed (seen:
up to 8 at increment 4 with 4 in flight). One thread asks at a time: whoever wants the same answer finds
it, and a model gets everything that is missing at once. Whose answers are all there does not wait for that thread.
A model that was lost is not asked again in this run: each further try would wait as long, for the same message.
Not covered: several processes that ask for the same request at once; each would ask, and one of the two answers counts.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pyarrow as pa
from jsonschema import Draft202012Validator

from promptforge.errors import EnvironmentFault
from promptforge.protocols import Answer, Completion, LanguageModel, Request
from promptforge.records import canonical_json, content_id, digest_of
from promptforge.schema import arrow_schema
from promptforge.stages.answers import NotAnAnswer, checked, refusal
from promptforge.stages.progress import Meter, meter
from promptforge.store import Commit, Store, TableFile

STAGE = "ask"
TRIES = 3
INCREMENT_S = 30.0  # answers are committed at least this often while they come in
BATCH = 4096  # requests handed to the model at once: enough to keep vLLM's scheduler full
RETRY_TEMPERATURE = 0.4  # at least, from the second try on: at 0 another seed changes nothing
PRICE_PER = 1e6  # prices are for a million tokens


@dataclass(slots=True)
class _Task:
    """A request on its way: how often it was tried, and what that took."""

    name: str
    request: Request
    tries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def next_try(self) -> Request:
        seed = int(content_id("seed", self.name, self.request.seed, self.tries)[:8], 16) >> 1  # servers take 31 bits
        low = RETRY_TEMPERATURE if self.tries else 0.0
        return replace(self.request, seed=seed, temperature=max(self.request.temperature, low))


@dataclass(slots=True)
class _Batch:
    """Answers that are not committed yet."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class Asker:
    """Asks one language model of the recipe; see protocols.Ask.

    `identity` names the model in every request; `build` is called in the first call that lacks an answer. `price` is
    for a million tokens in and out.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        identity: Mapping[str, Any],
        build: Callable[[], LanguageModel],
        *,
        increment: int = 64,
        price: tuple[float | None, float | None] = (None, None),
    ) -> None:
        self._store, self._name, self._build, self._price = store, name, build, price
        self._identity = canonical_json(identity)
        self._increment = increment
        self._model: LanguageModel | None = None
        self._lost: str | None = None  # why the model is not asked any more
        self._validators: dict[str, Draft202012Validator] = {}
        self._asking = threading.Lock()  # held while the model is used, for an hour perhaps
        self._guard = threading.Lock()  # of what follows, for moments
        self._seen: set[str] = set()  # names of record files
        self._records: dict[str, tuple[int, tuple[str, ...]]] = {}  # commit key -> revision, requests
        self._where: dict[str, TableFile] = {}  # request -> file

    def request_id(self, request: Request) -> str:
        """Name of a request to this model; `user` may show earlier answers and is no part of it."""
        return content_id("request", self._identity, request.task, request.variant, request.subject)

    def __call__(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """One answer a request, in order; asks what no commit of the folder holds.

        Raises EnvironmentFault where the model is lost, after committing what came.
        """
        names = [self.request_id(request) for request in requests]
        fresh: dict[str, Answer] = {}
        if self._missing(names):
            with self._asking:
                wanted = dict(zip(names, requests, strict=True))
                missing = self._missing(names)  # less what was asked while this thread waited
                fresh = self._ask({name: wanted[name] for name in missing}) if missing else {}
        found = fresh | self._read(name for name in names if name not in fresh)
        return [found[name] for name in names]

    def sleep(self) -> None:
        """Let the model give back the accelerator's memory; waits for the thread that asks."""
        with self._asking:
            if self._model is not None:
                self._model.sleep()

    # -- what is there ------------------------------------------------------------------------------------

    def _missing(self, names: Iterable[str]) -> list[str]:
        """Which of these no commit holds, each once."""
        with self._guard:
            self._refresh()
            return [name for name in dict.fromkeys(names) if name not in self._where]

    def _refresh(self) -> None:
        """Look at records that are new since the last time."""
        try:
            names = {name for name in os.listdir(self._folder) if name.endswith(".json")}  # noqa: PTH208  names alone
        except FileNotFoundError:
            return
        new = names - self._seen
        if not self._seen:
            commits = self._store.commits(STAGE)
        else:
            keys = sorted({name.removesuffix(".json").partition(".r")[0] for name in new})
            commits = [commit for key in keys if (commit := self._store.load(f"{STAGE}/{key}"))]
        for commit in commits:
            self._note(commit)
        self._seen = names

    @property
    def _folder(self) -> str:
        return str(self._store.root / "_commits" / STAGE)

    def _note(self, commit: Commit) -> None:
        item = commit.file("responses")
        revision, names = self._records.get(commit.key, (-1, ()))
        if item is None or revision >= commit.revision:
            return
        for name in names:  # a purge rewrote the record, and may have left some out
            self._where.pop(name, None)
        names = tuple(self._store.read(item, ["request_id"])["request_id"].to_pylist())
        self._records[commit.key] = commit.revision, names
        for name in names:
            self._where.setdefault(name, item)

    def _read(self, names: Iterator[str]) -> dict[str, Answer]:
        wanted: dict[str, set[str]] = {}
        items: dict[str, TableFile] = {}
        with self._guard:
            for name in names:
                item = self._where[name]
                items[item.name] = item
                wanted.setdefault(item.name, set()).add(name)
        found: dict[str, Answer] = {}
        for file, some in wanted.items():
            for row in self._store.read(items[file], ["request_id", "answer", "error"]).to_pylist():
                if row["request_id"] in some:
                    found[row["request_id"]] = _answer(row)
        return found

    # -- asking -------------------------------------------------------------------------------------------

    def _ask(self, missing: Mapping[str, Request]) -> dict[str, Answer]:
        if self._lost is not None:
            raise EnvironmentFault(self._lost)
        progress = meter(self._store.root)
        progress.expect_more(STAGE, len(missing))
        try:
            if self._model is None:
                self._model = self._build()
            return self._answers(self._model, missing, progress)
        except EnvironmentFault as exc:
            self._lost = str(exc)
            raise

    def _answers(self, model: LanguageModel, missing: Mapping[str, Request], progress: Meter) -> dict[str, Answer]:
        waiting = deque(_Task(name, request) for name, request in missing.items())
        found: dict[str, Answer] = {}
        batch = _Batch()
        try:
            while waiting:
                tasks = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                with closing(self._complete(model, tasks)) as answers:
                    for given in answers:
                        row = None if given is None else self._row(*given)
                        if row is not None:
                            found[row["request_id"]] = _answer(row)
                            batch.rows.append(row)
                        elif given is not None:
                            waiting.append(given[0])
                        if len(batch.rows) >= self._increment or time.monotonic() - batch.since > INCREMENT_S:
                            batch = self._commit(batch)
                        progress.add(STAGE, int(row is not None))
        finally:
            self._commit(batch)
        return found

    def _complete(
        self, model: LanguageModel, tasks: Sequence[_Task]
    ) -> Generator[tuple[_Task, Completion] | None, None, None]:
        left = set(range(len(tasks)))
        for given in model.complete([task.next_try() for task in tasks]):
            if given is not None:
                left.remove(given[0])
            yield given and (tasks[given[0]], given[1])
        if left:
            raise EnvironmentFault(
                f"language model {self._name}: {len(tasks) - len(left)} of {len(tasks)} requests answered, then it"
                " stopped; look at its log and run again"
            )

    def _row(self, task: _Task, completion: Completion) -> dict[str, Any] | None:
        """The row of a finished request; None where it is to be tried again."""
        task.tries += 1
        task.tokens_in += completion.n_tokens_in
        task.tokens_out += completion.n_tokens_out
        answer, error = None, None
        if completion.error is not None:
            error = refusal(completion.error)
        else:
            try:
                answer = canonical_json(checked(completion, self._validator(task.request.schema)))
            except NotAnAnswer as exc:
                if task.tries < TRIES:
                    return None
                error = str(exc)
        return {
            "request_id": task.name,
            "task": task.request.task,
            "subject": task.request.subject,
            "model": self._identity,
            "payload": _payload(_Task(task.name, task.request).next_try()),
            "answer": answer,
            "error": error,
            "n_tries": task.tries,
            "n_tokens_in": task.tokens_in,
            "n_tokens_out": task.tokens_out,
        }

    def _validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        key = canonical_json(schema)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator(schema)
        return self._validators[key]

    def _commit(self, batch: _Batch) -> _Batch:
        if batch.rows:
            names = [row["request_id"] for row in batch.rows]
            tables = {
                "responses": pa.Table.from_pylist(batch.rows, schema=arrow_schema("responses")),
                "llm_usage": pa.Table.from_pylist(self._usage(batch), schema=arrow_schema("llm_usage")),
            }
            digest = digest_of({"stage": STAGE, "requests": names})
            # By the first two digits: a rewrite looks at every record of its shard.
            commit = self._store.commit(STAGE, f"r{digest[:2]}", digest, tables, {"rows": len(names)})
            with self._guard:
                self._note(commit)
                self._seen.add(self._store.record_path(commit).name)
        return _Batch()

    def _usage(self, batch: _Batch) -> list[dict[str, Any]]:
        seconds = time.monotonic() - batch.since
        counts = Counter(row["task"] for row in batch.rows)
        rows = []
        for task, n_requests in sorted(counts.items()):
            some = [row for row in batch.rows if row["task"] == task]
            n_in, n_out = (sum(row[column] for row in some) for column in ("n_tokens_in", "n_tokens_out"))
            rows.append(
                {
                    "task": task,
                    "model": self._name,
                    "n_requests": n_requests,
                    "n_tokens_in": n_in,
                    "n_tokens_out": n_out,
                    "seconds": seconds * n_requests / len(batch.rows),
                    "price": self._cost(n_in, n_out),
                }
            )
        return rows

    def _cost(self, n_in: int, n_out: int) -> float | None:
        if self._price == (None, None):
            return None
        return (n_in * (self._price[0] or 0.0) + n_out * (self._price[1] or 0.0)) / PRICE_PER


def _payload(request: Request) -> str:
    picture = None
    if request.picture is not None:
        picture = [*request.picture.shape, sha256(request.picture.tobytes()).hexdigest()]
    sent = [request.system, request.user, request.schema, picture]
    return digest_of([*sent, request.max_tokens, request.temperature, request.seed])


def _answer(row: Mapping[str, Any]) -> Answer:
    return Answer(error=row["error"]) if row["answer"] is None else Answer(value=json.loads(row["answer"]))
