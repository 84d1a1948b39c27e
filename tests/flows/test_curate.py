"""The flow's own small parts: what is tried again, and whose time a stage's seconds are."""

import time
from dataclasses import asdict

import pytest

from promptforge.errors import ConfigError, StoreFault
from promptforge.flows import curate, retries
from promptforge.flows.runners import task_runner
from promptforge.recipe import RunSettings
from promptforge.stages.progress import Stopped
from promptforge.stages.run import Tally


class Failed:
    """A task run's final state, as far as the condition looks at it."""

    def __init__(self, fault: BaseException) -> None:
        self._fault = fault

    def result(self, *, raise_on_failure: bool) -> None:
        assert raise_on_failure
        raise self._fault


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (OSError("the disk was away"), True),
        (MemoryError(), True),
        (StoreFault("changed"), False),
        (ConfigError("wrong"), False),
        (Stopped(), False),
    ],
)
def test_only_what_another_try_could_mend_is_tried_again(fault: Exception, again: bool) -> None:
    assert retries.unexpected(None, None, Failed(fault)) is again


def test_every_task_is_uncached_and_keeps_no_result() -> None:
    from prefect import Task

    tasks = [value for value in vars(curate).values() if isinstance(value, Task)]
    assert len(tasks) == 12
    for task in tasks:
        assert task.cache_policy == retries.NO_CACHE
        assert task.persist_result is False
        assert task.retries == 2


def test_the_clock_is_shared_out_by_how_busy_the_stages_were() -> None:
    # Two shards on two threads: 6 busy seconds of generate and 2 of filter in 4 seconds of clock, so 3 and 1.
    rows = [
        asdict(Tally("generate", done=1, rows=5, seconds=4.0)),
        asdict(Tally("filter", done=1, rows=1, seconds=1.0)),
        asdict(Tally("generate", done=1, rows=7, seconds=2.0)),
        asdict(Tally("filter", skipped=1, rows=0, seconds=1.0)),
    ]
    generate, filtered = curate._timed(rows, time.monotonic() - 4.0)
    assert (generate["stage"], generate["done"], generate["rows"]) == ("generate", 2, 12)
    assert generate["seconds"] == pytest.approx(3.0, abs=0.05)
    assert (filtered["done"], filtered["skipped"]) == (1, 1)
    assert filtered["seconds"] == pytest.approx(1.0, abs=0.05)


def test_the_thread_runner_has_as_many_workers_as_the_recipe_says() -> None:
    from prefect.task_runners import ThreadPoolTaskRunner

    runner = task_runner(RunSettings(workers=3))
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert runner._max_workers == 3
