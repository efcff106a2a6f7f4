"""The standard library's `logging`: a formatter, a handler, and `install`, which puts it under the root logger and lets levels follow."""

from __future__ import annotations

import logging
from typing import Any

from ._context import current
from ._errors import error_of
from ._fields import NONE, Head, beside, over
from ._json import quoted
from ._levels import DEBUG, ERROR, INFO, TRACE, WARN
from ._logging import Logging

# What every record of `logging` has; anything else came with `extra`.
_PLAIN = logging.LogRecord("", 0, "", 0, "", (), None)
_STANDARD = frozenset((*_PLAIN.__dict__, "message", "asctime", "taskName", "is_audit"))
_STANDARD_COUNT = len(_PLAIN.__dict__)


def _level(number: int) -> int:
    """A number of `logging` as one of the five."""
    return ERROR if number >= ERROR else WARN if number >= WARN else INFO if number >= INFO else DEBUG if number >= DEBUG else TRACE


class CordwoodFormatter(logging.Formatter):
    """A record as one line of JSON, for any handler."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, location: bool = True) -> None:
        super().__init__()
        self._shared = shared or _process()
        self._service = self._shared.known_service(service)
        self._location = location
        self._heads: dict[str, tuple[Any, Head]] = {}
        self._places: dict[tuple[str, str], str] = {}

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record)[1]

    def line(self, record: logging.LogRecord) -> tuple[int, str, bool]:
        """Level, line and whether it is an audit event."""
        given = record.__dict__
        level = _level(record.levelno)
        message = record.getMessage() if record.args else record.msg if type(record.msg) is str else str(record.msg)
        known = self._head(record.name)
        has_more = len(given) > _STANDARD_COUNT
        if not has_more and record.exc_info is None and not record.stack_info:
            members = known.text + (self._place(record) if self._location else "")
            return level, self._shared.line(record.created, level, message, members), False
        fields: dict[str, Any] = {}
        if self._location:
            fields.update(file=record.pathname, line=record.lineno, function=record.funcName)
        if has_more:
            fields.update({key: one for key, one in given.items() if key not in _STANDARD})
        error = error_of(record.exc_info)
        if error is not None:
            fields["exc_info"] = error
        if record.stack_info:
            fields.setdefault("stackInfo", record.stack_info)
        audit = given.get("is_audit") is True
        return level, self._shared.line(record.created, level, message, beside(known, fields), audit), audit

    def _head(self, name: str) -> Head:
        around = current()
        found = self._heads.get(name)
        if found is None or found[0] is not around:
            own = {"service": quoted(self._service), "logger": quoted(name if name != "root" else self._service)}
            found = (around, Head({**self._shared.made, **own, **(around or NONE)}))
            if len(self._heads) < 1000:
                self._heads[name] = found
        return found[1]

    def _place(self, record: logging.LogRecord) -> str:
        key = (record.pathname, record.funcName or "")
        found = self._places.get(key)
        if found is None:
            made = over(NONE, {"file": record.pathname, "function": record.funcName or ""})
            found = Head(made).text + ',"line":'
            if len(self._places) < 5000:
                self._places[key] = found
        return f"{found}{record.lineno}"


class CordwoodHandler(logging.Handler):
    """Hands records over to the process's delivery. It takes no lock: delivery needs none."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, location: bool = True) -> None:
        super().__init__()
        self._shared = shared or _process()
        self._formatter = CordwoodFormatter(service, shared=self._shared, location=location)
        self._service = self._shared.known_service(service)

    def createLock(self) -> None:  # noqa: N802 - the name of `logging`
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level, line, audit = self._formatter.line(record)
            self._shared.take(60 if audit else level, line)
        except Exception:  # noqa: BLE001
            self.handleError(record)

    def flush(self) -> None:
        self._shared.flush()


class _Following:
    """Levels of `logging` that follow ours: the root's, and those of the names that a level is set for."""

    def __init__(self, shared: Logging, service: str, root: logging.Logger) -> None:
        self._shared = shared
        self._service = service
        self._root = root
        self._before: dict[str, int] = {}

    def __call__(self) -> None:
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self._before.clear()
        self._root.setLevel(_number(self._shared.levels.of("", self._service)))
        for target, level in self._shared.levels.targets().items():
            name = target.replace("::", ".").replace("/", ".")
            if name:
                self._before[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(_number(level))


def _number(level: int) -> int:
    return level if level < 100 else logging.CRITICAL + 1


def install(service: str | None = None, *, shared: Logging | None = None, location: bool = True, root: logging.Logger | None = None) -> CordwoodHandler:
    """Everything that is logged by `logging`, also by libraries, becomes a record of `service`: with warnings, and levels at run time.

    Other handlers of the root logger are taken away, as `logging.basicConfig(force=True)` does.
    """
    shared = shared or _process()
    root = root or logging.getLogger()
    logging.addLevelName(TRACE, "TRACE")
    handler = CordwoodHandler(service, shared=shared, location=location)
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    logging.captureWarnings(True)
    follow = _Following(shared, shared.known_service(service), root)
    follow()
    shared.levels.heard.append(follow)
    return handler


def audit_record(logger: logging.Logger, message: str, action: str, metadata: Any) -> None:
    """An audit event of a logger of `logging`: whatever its level is."""
    frame = logger.findCaller(stacklevel=3)
    extra = {"is_audit": True, "action": action, **({} if metadata is None else {"metadata": metadata})}
    record = logger.makeRecord(logger.name, INFO, frame[0], frame[1], message, (), None, frame[2], extra)
    logger.handle(record)


def _process() -> Logging:
    from . import process

    return process()


