"""JSON lines that Cordwood reads best, and any other reader well: levels at run time, request context, tasks, audit events.

    from cordwood_logger import create_logger

    log = create_logger("shop")
    log.info("order paid", orderId=17)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import Any

from ._context import bind_context, context
from ._delivery import Limits
from ._ending import watch
from ._ending import watch_loop as _watch_loop
from ._handler import CordwoodFormatter, CordwoodHandler, audit_record, install
from ._http import ContextASGI, ContextWSGI, LevelASGI, LevelWSGI
from ._levels import LevelError
from ._logger import Logger
from ._logging import Logging
from ._output import MemoryOutput, Output
from ._structlog import StructlogProcessor
from ._task import TaskContext, run_task

__version__ = "0.1.0"

_made: Logging | None = None
_lock = threading.Lock()


def process() -> Logging:
    """What the loggers of this process share."""
    global _made
    with _lock:
        if _made is None:
            _made = Logging()
            watch(_made)
        return _made


def create_logger(service: str | None = None, **options: Any) -> Logger:
    """The logger of a service; of CORDWOOD_SERVICE when it names none. Options: name, level, location, fields."""
    return process().create_logger(service, **options)


def create_request_logger(headers: Any, logger: Logger | None = None) -> Logger:
    """A logger of one request: a mapping of headers, pairs as in ASGI, a WSGI environ, or a request with `headers`."""
    return process().create_request_logger(headers, logger)


def audit_log(logger: Logger | logging.Logger, message: str, *, action: str, metadata: Mapping[str, Any] | None = None) -> None:
    """An audit event of a logger of ours or of `logging`: written whatever the level is."""
    if isinstance(logger, Logger):
        logger.audit(message, action=action, metadata=metadata)
    else:
        audit_record(logger, message, action, metadata)


def belief_scope(name: str, logger: Logger | None = None) -> contextlib.AbstractContextManager[None]:
    """`with belief_scope("load"):`, a scope of this logger, or of the process's first."""
    return (logger or process().first).scope(name)


def level_wsgi(app: Any = None) -> LevelWSGI:
    """`GET/PUT /cordwood/level` as a WSGI application, or around one. Mount it where only those come who may change levels."""
    return LevelWSGI(process().levels, app)


def level_asgi(app: Any = None) -> LevelASGI:
    """The same for ASGI."""
    return LevelASGI(process().levels, app)


def watch_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Exceptions of an event loop that nobody awaited become records."""
    _watch_loop(process(), loop)


def levels() -> dict[str, Any]:
    """The levels in force."""
    return process().levels.state()


def set_levels(change: Mapping[str, Any]) -> dict[str, Any]:
    """Changes levels as `PUT /cordwood/level` does."""
    return process().levels.change(dict(change))


def flush() -> bool:
    """Writes what waits; true when nothing waits any more."""
    return process().flush()


def stats() -> dict[str, int]:
    """How many records were written, wait, and were dropped."""
    delivery = process().delivery
    return {"written": delivery.written, "waiting": delivery.waiting, "dropped": delivery.lost}


__all__ = [
    "ContextASGI", "ContextWSGI", "CordwoodFormatter", "CordwoodHandler", "LevelASGI", "LevelError", "LevelWSGI", "Limits", "Logger", "Logging",
    "MemoryOutput", "Output", "StructlogProcessor", "TaskContext", "audit_log", "belief_scope", "bind_context", "context", "create_logger",
    "create_request_logger", "flush", "install", "level_asgi", "level_wsgi", "levels", "process", "run_task", "set_levels", "stats", "watch_loop",
]  # fmt: skip
