"""A logger: a name, a service, bound fields. `log.info("paid", orderId=17)`; also `log.info("paid %s", order)`, `extra=` and `exc_info=`, as in `logging`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._context import current
from ._errors import error_of
from ._fields import NONE, Head, Made, beside, over
from ._headers import request_fields
from ._json import quoted, safe_str, thrown
from ._levels import DEBUG, ERROR, INFO, TRACE, WARN, LevelError, level_name, level_number, level_of
from ._time import timestamp

if TYPE_CHECKING:
    from ._logging import Logging

#: What stands between a line's time and its message.
BEFORE = {level: f'","level":"{level_name(level)}","message":' for level in (TRACE, DEBUG, INFO, WARN, ERROR)}


class Logger:
    __slots__ = (
        "_logging", "_levels", "service", "name", "_made", "_located", "_own", "_threshold", "_head", "_context", "_context_head",
    )  # fmt: skip

    def __init__(self, logging: Logging, service: str, name: str, made: Made, located: bool, level: int | None) -> None:
        self._logging = logging
        self._levels = logging.levels
        self.service = service
        self.name = name
        self._made = made
        self._located = located
        self._own = None if level is None else (level, logging.levels.revision)
        self._threshold = self._levels.threshold(name, service, self._own)
        self._head = self._context_head = self._head_with(NONE)
        self._context: Made | None = None

    def _head_with(self, around: Made) -> Head:
        return Head({**self._logging.made, **around, **self._made})

    @property
    def level(self) -> str:
        """The level in force for it. Setting it gives it one of its own, until one is set while the program runs."""
        return level_name(self._levels.least(self.name, self.service, self._own))

    @level.setter
    def level(self, word: str) -> None:
        self._own = (_known(word), self._levels.revision)
        self._threshold = self._levels.threshold(self.name, self.service, self._own)

    def is_enabled_for(self, word: str | int) -> bool:
        return self._threshold.least <= _known(word)

    def trace(self, message: object, /, *args: object, **fields: Any) -> None:
        if self._threshold.least <= TRACE:
            self._write(TRACE, message, args, fields)

    def debug(self, message: object, /, *args: object, **fields: Any) -> None:
        if self._threshold.least <= DEBUG:
            self._write(DEBUG, message, args, fields)

    def info(self, message: object, /, *args: object, **fields: Any) -> None:
        if self._threshold.least <= INFO:
            self._write(INFO, message, args, fields)

    def warning(self, message: object, /, *args: object, **fields: Any) -> None:
        if self._threshold.least <= WARN:
            self._write(WARN, message, args, fields)

    def error(self, message: object, /, *args: object, **fields: Any) -> None:
        if self._threshold.least <= ERROR:
            self._write(ERROR, message, args, fields)

    def exception(self, message: object, /, *args: object, **fields: Any) -> None:
        """`error` with the exception that is being handled."""
        fields.setdefault("exc_info", True)
        if self._threshold.least <= ERROR:
            self._write(ERROR, message, args, fields)

    warn = warning
    #: There is no level above ERROR.
    critical = fatal = error

    def log(self, level: str | int, message: object, /, *args: object, **fields: Any) -> None:
        number = _known(level)
        if self._threshold.least <= number:
            self._write(number, message, args, fields)

    def _write(self, level: int, message: object, args: tuple[object, ...], fields: dict[str, Any], audit: bool = False) -> None:
        try:
            text = message if type(message) is str else safe_str(message)
            if issubclass(type(message), BaseException) and "exc_info" not in fields:
                fields["exc_info"] = message
            if args:
                text = _formatted(text, args)
            around = current()
            if around is None:
                known = self._head
            else:
                if around is not self._context:
                    self._context_head = self._head_with(around)
                    self._context = around
                known = self._context_head
            if "exc_info" in fields or "extra" in fields:
                fields = _unpacked(fields)
            if self._located:
                known = Head({**known.made, **over(NONE, caller())})
            members = beside(known, fields) if fields else known.text
        except Exception as error:  # noqa: BLE001 - whatever was handed over, or too little stack: the record says so
            text = message if type(message) is str else safe_str(message)
            members = f'{self._head.text},"fields":{quoted(thrown(error))}'
        if audit:
            self._logging.take_record(level, text, members, True)
        else:
            line = f'{{"timestamp":"{timestamp(time.time())}{BEFORE[level]}{quoted(text)}{members}}}\n'
            self._logging.take(level, line)

    def child(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> Logger:
        """A logger with these fields too."""
        both = more if fields is None else {**_mapped("fields", fields), **more}
        return self._with(self.name, both)

    bind = child

    def _with(self, name: str, fields: Mapping[str, Any]) -> Logger:
        own = None if self._own is None else self._own[0]
        return Logger(self._logging, self.service, name, over(self._made, fields), self._located, own)

    def named(self, name: str) -> Logger:
        """The same under another name: `db.pool`."""
        return self._with(name, {"logger": name})

    def with_source(self, source: str) -> Logger:
        return self._with(self.name, {"source": source})

    def for_request(self, headers: Any) -> Logger:
        """A logger of this request: tenant, user, session, request, trace from its headers."""
        return self._with(self.name, request_fields(headers))

    def audit(self, message: str, /, *, action: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """An audit event: written whatever the level is."""
        self._write(INFO, message, (), {**fields, "action": action, "metadata": metadata}, audit=True)

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """While the switch of scopes is on, at DEBUG: `[name][Entry]`, `[name][Coherence:OK]` or `[name][Coherence:Failed]`, `[name][Exit]`."""
        if not self._tell(name, "[Entry]"):
            yield
            return
        try:
            yield
        except BaseException as error:
            self._tell(name, f"[Coherence:Failed] {safe_str(error)}")
            self._tell(name, "[Exit]")
            raise
        self._tell(name, "[Coherence:OK]")
        self._tell(name, "[Exit]")

    def _tell(self, name: str, what: str) -> bool:
        if not self._levels.scopes or self._threshold.least > DEBUG:
            return False
        self._write(DEBUG, f"[{name}]{what}", (), {"scope": name})
        return True

    def flush(self) -> None:
        """Writes what waits."""
        self._logging.flush()


def _formatted(text: str, args: tuple[object, ...]) -> str:
    try:
        # `logging` takes one mapping for named places.
        return text % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args)
    except Exception:  # noqa: BLE001 - places and values that do not fit each other
        return " ".join([text, *map(safe_str, args)])


def _unpacked(fields: dict[str, Any]) -> dict[str, Any]:
    """`exc_info` and `extra` as the fields that they stand for. (The fields are of this call alone.)"""
    extra = fields.pop("extra", None)
    error = error_of(fields.pop("exc_info", None))
    if isinstance(extra, Mapping):
        fields = {**_mapped("extra", extra), **fields}
    if error is not None:
        fields["exc_info"] = error
    return fields


def _mapped(name: str, fields: Mapping[str, Any]) -> dict[Any, Any]:
    try:
        return dict(fields)
    except Exception as error:  # noqa: BLE001
        return {name: thrown(error)}


def caller() -> dict[str, Any]:
    """The first frame outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") in ("cordwood_logger", "contextlib"):
        frame = frame.f_back
    return {"file": frame.f_code.co_filename, "line": frame.f_lineno, "function": frame.f_code.co_name}


def _known(word: str | int) -> int:
    """A level by its word, or by its number in `logging`."""
    if type(word) is int:
        return level_of(word)
    level = level_number(word) if isinstance(word, str) else None
    if level is None:
        raise LevelError(f"unknown level '{word}': there are trace, debug, info, warn, error, off")
    return level
