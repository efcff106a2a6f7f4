"""structlog: the last processor of a chain. It hands the event over to the process's delivery, or gives its line to structlog's own logger."""

from __future__ import annotations

import time
from typing import Any

from ._context import current
from ._errors import error_of
from ._fields import NONE, Head, beside
from ._json import quoted, safe_str
from ._levels import ERROR, INFO, level_number
from ._logging import Logging


class StructlogProcessor:
    """`structlog.configure(processors=[..., StructlogProcessor("shop")])`; with `render=True` the line is what the processor gives back."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, render: bool = False) -> None:
        if shared is None:
            from . import process

            shared = process()
        self._shared = shared
        self._service = shared.known_service(service)
        self._render = render
        self._head: tuple[Any, Head] | None = None

    def _known(self) -> Head:
        around = current()
        if self._head is None or self._head[0] is not around:
            own = {"service": quoted(self._service), "logger": quoted(self._service)}
            self._head = (around, Head({**self._shared.made, **own, **(around or NONE)}))
        return self._head[1]

    def __call__(self, _logger: Any, method: str, event: Any) -> str:
        fields = dict(event)
        message = fields.pop("event", "")
        # What other processors add is ours to say.
        fields.pop("timestamp", None)
        level = level_number(str(fields.pop("level", method))) or level_number(method) or INFO
        error = error_of(fields.pop("exc_info", method == "exception"))
        if method == "exception":
            level = ERROR
        if error is not None:
            fields["exc_info"] = error
        name = fields.get("logger") or self._service
        if level < self._shared.levels.of(str(name), self._service):
            self._drop()
        text = message if isinstance(message, str) else safe_str(message)
        line = self._shared.line(time.time(), level, text, beside(self._known(), fields))
        if not self._render:
            self._shared.take(level, line)
            self._drop()
        return line[:-1]

    @staticmethod
    def _drop() -> None:
        import structlog

        raise structlog.DropEvent
