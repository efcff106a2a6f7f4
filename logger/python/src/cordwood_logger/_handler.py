"""The standard library's `logging`: a formatter, a handler, and `install`, which puts it under the root logger and lets levels follow."""

from __future__ import annotations

import logging
from typing import Any

from ._context import current
from ._errors import error_of
from ._fields import NONE, Head, beside, over
from ._json import quoted
from ._levels import DEBUG, ERROR, INFO, TRACE, WARN
from ._logger import BEFORE, caller
from ._logging import Logging
from ._time import timestamp

# What every record of `logging` has; anything else came with `extra`.
_PLAIN = logging.LogRecord("", 0, "", 0, "", (), None)
_STANDARD = frozenset((*_PLAIN.__dict__, "message", "asctime", "taskName", "is_audit"))
_STANDARD_COUNT = len(_PLAIN.__dict__)
#: The last of them: what stands behind it came later.
_STANDARD_LAST = list(_PLAIN.__dict__)[-1]


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
        self._heads: dict[tuple[str, str, str | None], tuple[Any, Head]] = {}

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record)[1]

    def line(self, record: logging.LogRecord) -> tuple[int, str, bool]:
        """Level, line and whether it is an audit event."""
        given = record.__dict__
        level = _level(record.levelno)
        message = record.getMessage() if record.args else record.msg if type(record.msg) is str else str(record.msg)
        fields: dict[str, Any] = {}
        audit = False
        if len(given) > _STANDARD_COUNT:
            names = list(given)
            if names[_STANDARD_COUNT - 1] == _STANDARD_LAST:
                del names[:_STANDARD_COUNT]
            fields = {name: given[name] for name in names if name not in _STANDARD}
            audit = given.get("is_audit") is True
        if record.exc_info is not None:
            error = error_of(record.exc_info)
            if error is not None:
                fields["exc_info"] = error
        if record.stack_info:
            fields.setdefault("stackInfo", record.stack_info)
        members = beside(self._known(record), fields, record.lineno if self._location else None)
        is_audit = ',"is_audit":true' if audit else ""
        return level, f'{{"timestamp":"{timestamp(record.created)}{BEFORE[level]}{quoted(message)}{is_audit}{members}}}', audit

    def _known(self, record: logging.LogRecord) -> Head:
        """What a record has before its own fields: made once for a place in the program and the present context, but for the line."""
        around = current()
        key = (record.name, record.pathname, record.funcName)
        found = self._heads.get(key)
        if found is None or found[0] is not around:
            found = (around, self._head(key, around))
            if len(self._heads) < 5000:
                self._heads[key] = found
        return found[1]

    def _head(self, key: tuple[str, str, str | None], around: Any) -> Head:
        name, file, function = key
        own = {"service": quoted(self._service), "logger": quoted(name if name != "root" else self._service)}
        place = over(NONE, {"file": file, "function": function}) if self._location else {}
        head = Head({**self._shared.made, **own, **place, **{one: made for one, made in (around or NONE).items() if one != "line"}})
        if self._location:
            # (The number comes with each record; that it comes is known.)
            head.made = {**head.made, "line": "0"}
        return head


class CordwoodHandler(logging.Handler):
    """Hands records over to the process's delivery. It takes no lock: delivery needs none."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, location: bool = True) -> None:
        super().__init__()
        self._shared = shared or _process()
        self._formatter = CordwoodFormatter(service, shared=self._shared, location=location)
        self._service = self._shared.known_service(service)

    def handle(self, record: logging.LogRecord) -> bool:
        # (A filter is asked where there can be one.)
        passed = self.filter(record) if self.filters or type(self) is not CordwoodHandler else True
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

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
    place = caller()
    extra = {"is_audit": True, "action": action, **({} if metadata is None else {"metadata": metadata})}
    record = logger.makeRecord(logger.name, INFO, place["file"], place["line"], message, (), None, place["function"], extra)
    logger.handle(record)


def _process() -> Logging:
    from . import process

    return process()


