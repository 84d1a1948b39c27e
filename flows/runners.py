"""The task runners that a recipe may name: how Prefect spreads the tasks of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promptforge.recipe import RunSettings

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


def task_runner(settings: RunSettings) -> TaskRunner[Any]:
    """A fresh runner with as many workers as the recipe wants."""
    from prefect.task_runners import ThreadPoolTaskRunner

    known = {"threads": ThreadPoolTaskRunner}
    return known[settings.runner](max_workers=settings.workers)
