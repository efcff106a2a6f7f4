"""Context: fields that every record has until the work that they were given to has ended, in threads of its own and through every `await`."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any

from ._fields import NONE, Made, over

_context: contextvars.ContextVar[Made | None] = contextvars.ContextVar("cordwood_logger", default=None)

#: What is known here. The same object as long as nothing else is.
current = _context.get


@contextlib.contextmanager
def context(fields: Mapping[str, Any] | None = None, /, **more: Any) -> Iterator[None]:
    """`with context(requestId="r-1"):`, these fields over those that are known here."""
    token = _context.set(over(over(_context.get() or NONE, fields or {}), more))
    try:
        yield
    finally:
        _context.reset(token)


def bind_context(**fields: Any) -> None:
    """The rest of the present context (a task, a thread) has these fields too."""
    _context.set(over(_context.get() or NONE, fields))
