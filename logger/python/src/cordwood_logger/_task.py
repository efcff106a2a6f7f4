"""Tasks: the context that a runner hands to a plugin. What a plugin that knows nothing of it logs is the system's, of the same task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ._context import context
from ._logger import Logger


class TaskContext:
    """What a task runs with. Lines of its logger are the task's, of the source `plugin` unless the runner said otherwise."""

    def __init__(self, logger: Logger, task_id: str | int, *, config: Mapping[str, Any] | None = None, source: str | None = None) -> None:
        self.task_id = str(task_id)
        self.config = config or {}
        self.logger = logger.child(taskId=self.task_id, source=source or "plugin")


def takes_context(execute: Callable[..., Any]) -> bool:
    """Whether a plugin's `execute` takes a second value, or one that is called `context`."""
    try:
        parameters = inspect.signature(execute).parameters
    except (TypeError, ValueError):
        return False
    kinds = [one.kind for one in parameters.values()]
    places = [kind for kind in kinds if kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    return len(places) >= 2 or "context" in parameters or inspect.Parameter.VAR_POSITIONAL in kinds


def _call(execute: Callable[..., Any], params: Any, task: TaskContext) -> Any:
    if not takes_context(execute):
        return execute(params)
    parameters = inspect.signature(execute).parameters
    if "context" in parameters and parameters["context"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return execute(params, context=task)
    return execute(params, task)


def run_task(execute: Callable[..., Any], params: Any, task: TaskContext) -> Any:
    """Calls either kind of plugin, `execute(params)` or `execute(params, context)`; what a coroutine function gives is to be awaited.

    What is logged meanwhile by any logger is of the task; its source is `system` where none is said.
    """
    if inspect.iscoroutinefunction(execute) or inspect.iscoroutinefunction(getattr(execute, "__call__", None)):
        return _awaited(execute, params, task)
    with context(taskId=task.task_id, source="system"):
        return _call(execute, params, task)


async def _awaited(execute: Callable[..., Any], params: Any, task: TaskContext) -> Any:
    with context(taskId=task.task_id, source="system"):
        return await _call(execute, params, task)
