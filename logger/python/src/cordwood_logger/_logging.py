"""What the loggers of a process share: levels, the output, how a line looks. The environment says of it what its owner says in a cluster."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ._console import pretty
from ._delivery import Delivery, Limits
from ._fields import NONE, Head, over
from ._headers import request_fields
from ._json import encoded, quoted, value
from ._levels import AUDIT, LevelError, Levels, level_name, level_number
from ._logger import Logger
from ._output import FileOutput, Output
from ._time import timestamp


class Logging:
    """There is one for the process, made when the first logger is; tests make others."""

    def __init__(
        self,
        *,
        env: Mapping[str, str] | None = None,
        output: Output | None = None,
        limits: Limits | None = None,
        format: str | None = None,
    ) -> None:
        self._env = os.environ if env is None else env
        self.levels = Levels()
        self._configure("CORDWOOD_LEVEL")
        self.levels.set_scopes(self._is_on("CORDWOOD_SCOPES", False))
        given = {
            "environment": self._env.get("CORDWOOD_ENV") or None,
            "version": self._env.get("CORDWOOD_VERSION") or None,
            "region": self._env.get("CORDWOOD_REGION") or None,
        }
        #: Fields of the process: environment, version, region.
        self.made = over(NONE, given)
        self._pretty = (format or self._format()) == "console"
        # Who looks at a console wants to see a line when it is written.
        limits = limits or Limits(records=1 if self._pretty else Limits.records)
        records, wait_ms = self._number("CORDWOOD_BUFFER_RECORDS", 1, 10_000), self._number("CORDWOOD_BUFFER_MS", 0, 60_000)
        if wait_ms == 0:
            records = 1
        limits = replace(
            limits,
            records=limits.records if records is None else records,
            wait_s=limits.wait_s if wait_ms is None else wait_ms / 1000,
        )
        self.delivery = Delivery(FileOutput(1) if output is None else output, self._told, limits)
        self._coloured = _is_terminal() and not self._env.get("NO_COLOR")
        self._services: set[str] = set()
        self._first: Logger | None = None

    def _is_on(self, variable: str, itself: bool) -> bool:
        said = self._env.get(variable, "").strip().lower()
        if said not in ("", "0", "1", "true", "false"):
            complain(f"{variable}={said}: must be 1 or 0")
        return itself if said not in ("0", "1", "true", "false") else said in ("1", "true")

    def _number(self, variable: str, least: int, most: int) -> int | None:
        said = self._env.get(variable, "").strip()
        if not said:
            return None
        number = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else -1
        if least <= number <= most:
            return number
        complain(f"{variable}={said}: must be a number from {least} to {most}")
        return None

    def _configure(self, variable: str, service: str | None = None) -> None:
        wrong = self.levels.configure(self._env.get(variable, ""), service)
        if wrong:
            complain(f"{variable}: cannot read '{','.join(wrong)}': levels are trace, debug, info, warn, error, off")

    def _format(self) -> str:
        said = self._env.get("CORDWOOD_FORMAT", "").strip().lower()
        if said in ("json", "console"):
            return said
        if said:
            complain(f"CORDWOOD_FORMAT={said}: must be json or console")
        environment = self._env.get("CORDWOOD_ENV")
        if environment == "production":
            return "json"
        return "console" if environment == "development" or _is_terminal() else "json"

    def create_logger(
        self,
        service: str | None = None,
        *,
        name: str | None = None,
        level: str | None = None,
        location: bool | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Logger:
        """A logger of a service; of CORDWOOD_SERVICE when it names none."""
        of = self.known_service(service)
        number = None if level is None else level_number(level)
        if level is not None and number is None:
            raise LevelError(f"unknown level '{level}'")
        made = over(over(NONE, {"service": of, "logger": name or of}), fields or {})
        located = self._is_on("CORDWOOD_LOCATION", False) if location is None else location
        logger = Logger(self, of, name or of, made, located, number)
        if self._first is None:
            self._first = logger
        return logger

    def known_service(self, service: str | None) -> str:
        of = service or self._env.get("CORDWOOD_SERVICE") or "app"
        if of not in self._services:
            self._services.add(of)
            self.levels.service = self.levels.service or of
            variable = "CORDWOOD_LEVEL_" + re.sub("[^A-Z0-9]", "_", of.upper())
            if self._env.get(variable, "").strip():
                self._configure(variable, of)
        return of

    @property
    def first(self) -> Logger:
        return self._first or self.create_logger()

    def create_request_logger(self, headers: Any, logger: Logger | None = None) -> Logger:
        """A logger of one request, of the process's first logger unless another is given."""
        return (logger or self.first).child(request_fields(headers))

    def line(self, seconds: float, level: int, message: str, members: str, audit: bool = False) -> str:
        """One record as a line, with its newline."""
        is_audit = ',"is_audit":true' if audit else ""
        return f'{{"timestamp":"{timestamp(seconds)}","level":"{level_name(level)}","message":{quoted(message)}{is_audit}{members}}}\n'

    def take(self, rank: int, line: str) -> None:
        """Hands a line with its newline over to delivery."""
        if self._pretty:
            return self.delivery.push(rank, encoded(pretty(line, self._coloured)))
        try:
            data = line.encode()
        except UnicodeEncodeError:
            data = encoded(line)
        self.delivery.push(rank, data)

    def take_record(self, level: int, message: str, members: str, audit: bool) -> None:
        self.take(AUDIT if audit else level, self.line(time.time(), level, message, members, audit))

    def _told(self, dropped: dict[str, int], count: int) -> bytes:
        members = Head(over(NONE, {"service": self.levels.service or "app", "logger": "cordwood.logger"})).text
        line = self.line(time.time(), 30, f"{count} records dropped: the output stalled", f'{members},"dropped":{value(dropped)}')
        return encoded(pretty(line, self._coloured) if self._pretty else line)

    def flush(self) -> bool:
        """Writes what waits; true when nothing waits any more."""
        return self.delivery.flush()


def _is_terminal() -> bool:
    try:
        return os.isatty(1)
    except OSError:
        return False


def complain(what: str) -> None:
    """One line on standard error, if it takes one."""
    output = FileOutput(2)
    output.write(f"cordwood-logger: {what}\n".encode())
    output.close()
