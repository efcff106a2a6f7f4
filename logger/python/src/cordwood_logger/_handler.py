"""The standard library's `logging`: a formatter, a handler, and `install`, which puts it under the root logger and lets levels follow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ._context import current
from ._errors import error_of
from ._fields import NONE, Head, beside, over
from ._json import SHORT, quote, quoted, safe_str
from ._levels import AUDIT, INFO, TRACE, level_of
from ._logger import BEFORE, caller
from ._logging import Logging
from ._shapes import Other, Shape, joined, shape_of
from ._time import timestamp

# What every record of `logging` has; anything else came with `extra`.
_PLAIN = logging.LogRecord("", 0, "", 0, "", (), None)
_STANDARD = frozenset((*_PLAIN.__dict__, "message", "asctime", "taskName", "is_audit"))
_STANDARD_COUNT = len(_PLAIN.__dict__)
#: The last of them: what stands behind it came later.
_STANDARD_LAST = list(_PLAIN.__dict__)[-1]


_PLACES_KEPT_MAX = 5000


class _Place:
    """A place in the program that logs, by the names that it gives with `extra`: what all its records have in common."""

    __slots__ = ("level", "before", "values", "shape", "known")

    def __init__(self, level: int, names: list[str], shape: Shape, known: tuple[Any, str | None]) -> None:
        self.level = level
        self.before = BEFORE[level]
        #: All names beside the standard ones. Of a record with as many they are the same ones if none of them is missing.
        self.values: Callable[[Any], tuple[Any, ...]] | None = _values(names)
        self.shape = shape
        #: A context, and what a line has in it before the values; None where a value would meet a field of the context.
        self.known = known


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]] | None:
    if len(names) == 1:
        (name,) = names
        return lambda given: (given[name],)
    return itemgetter(*names) if names else None


class CordwoodFormatter(logging.Formatter):
    """A record as one line of JSON, for any handler."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, location: bool = True) -> None:
        super().__init__()
        self._shared = shared or _process()
        self._service = self._shared.known_service(service)
        self._location = location
        self._heads: dict[tuple[str, str, str | None], tuple[Any, Head]] = {}
        self._places: dict[tuple[str, int, str, int, str | None, int], _Place] = {}

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record)[1][:-1]

    def line(self, record: logging.LogRecord) -> tuple[int, str]:
        """The rank that delivery gives it, and the line with its newline."""
        given = record.__dict__
        place = self._places.get((record.name, record.levelno, record.pathname, record.lineno, record.funcName, len(given)))
        if place is None or record.exc_info or record.stack_info:
            return self._line(record)
        around, members = place.known
        if around is not current():
            around = current()
            members = self._before(record, place.shape, around)
            place.known = (around, members)
        if members is None:
            return self._line(record)
        if place.values is not None:
            try:
                writer = place.shape.writer
                members = joined(members, place.shape, place.values(given)) if writer is None else writer(members, *place.values(given))
            except (KeyError, ValueError, Other):
                return self._line(record)
            if members is None or len(members) > SHORT:
                return self._line(record)
        message = _message(record) if record.args or type(record.msg) is not str else record.msg
        text = quote(message) if len(message) <= SHORT else quoted(message)
        return place.level, f'{{"timestamp":"{timestamp(record.created)}{place.before}{text}{members}}}\n'

    def _line(self, record: logging.LogRecord) -> tuple[int, str]:
        """The same of any record; and its place is known from now on."""
        given = record.__dict__
        level = level_of(record.levelno)
        message = _message(record)
        more = list(given)
        if more[_STANDARD_COUNT - 1 : _STANDARD_COUNT] == [_STANDARD_LAST]:
            del more[:_STANDARD_COUNT]
        fields = {name: given[name] for name in more if name not in _STANDARD}
        audit = given.get("is_audit") is True
        if not record.exc_info and not record.stack_info and len(fields) == len(more) and len(given) == _STANDARD_COUNT + len(more):
            self._remember(record, level, more)
        error = error_of(record.exc_info) if record.exc_info else None
        if error is not None:
            fields["exc_info"] = error
        if record.stack_info:
            fields.setdefault("stackInfo", record.stack_info)
        members = beside(self._known(record), fields, record.lineno if self._location else None)
        is_audit = ',"is_audit":true' if audit else ""
        line = f'{{"timestamp":"{timestamp(record.created)}{BEFORE[level]}{quoted(message)}{is_audit}{members}}}\n'
        return AUDIT if audit else level, line

    def _remember(self, record: logging.LogRecord, level: int, names: list[str]) -> None:
        shape = shape_of(tuple(names))
        key = (record.name, record.levelno, record.pathname, record.lineno, record.funcName, _STANDARD_COUNT + len(names))
        if shape is not None and len(self._places) < _PLACES_KEPT_MAX and key not in self._places:
            around = current()
            self._places[key] = _Place(level, names, shape, (around, self._before(record, shape, around)))

    def _before(self, record: logging.LogRecord, shape: Shape, around: Any) -> str | None:
        known = self._known(record)
        if not known.is_apart(shape):
            return None
        return f'{known.text},"line":{record.lineno}' if self._location else known.text

    def _known(self, record: logging.LogRecord) -> Head:
        """What a record has before its own fields: made once for a place in the program and the present context, but for the line."""
        around = current()
        key = (record.name, record.pathname, record.funcName)
        found = self._heads.get(key)
        if found is None or found[0] is not around:
            found = (around, self._head(key, around))
            if len(self._heads) < _PLACES_KEPT_MAX:
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


def _message(record: logging.LogRecord) -> str:
    if record.args:
        return record.getMessage()
    return record.msg if type(record.msg) is str else safe_str(record.msg)


class CordwoodHandler(logging.Handler):
    """Hands records over to the process's delivery. It takes no lock: delivery needs none."""

    def __init__(self, service: str | None = None, *, shared: Logging | None = None, location: bool = True) -> None:
        super().__init__()
        self._shared = shared or _process()
        self._formatter = CordwoodFormatter(service, shared=self._shared, location=location)
        self._service = self._shared.known_service(service)

    def handle(self, record: logging.LogRecord) -> bool:
        # (Nothing else is asked where there is no filter and no subclass.)
        if not self.filters and type(self) is CordwoodHandler:
            try:
                rank, line = self._formatter.line(record)
                self._shared.take(rank, line)
            except Exception:  # noqa: BLE001
                self.handleError(record)
            return True
        passed = self.filter(record)
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._shared.take(*self._formatter.line(record))
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


