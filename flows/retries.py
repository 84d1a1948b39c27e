"""When Prefect tries a task again, and that it keeps neither results nor a cache: the files on disk decide."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from promptforge.errors import PromptforgeError
from promptforge.stages.progress import Stopped


def unexpected(_task: Any, _run: Any, state: Any) -> bool:
    """Whether another try could help: not where the data, the recipe or the person is the reason."""
    try:
        state.result(raise_on_failure=True)
    except (PromptforgeError, Stopped):
        return False
    except Exception:
        return True
    return False


TRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": unexpected,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
