"""Levels: words, and which level is in force for whom. One table for the process: a default, levels of targets, the switch of scopes.

What is set for a while goes back by itself. A logger's call asks its `Threshold` and nothing else: the code that changes the table tells all of them.
"""

from __future__ import annotations

import math
import re
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TRACE, DEBUG, INFO, WARN, ERROR, OFF = 5, 10, 20, 30, 40, 100
#: Audit events are never filtered, and dropped last.
AUDIT = 60

#: At most seven days, as for every level that Cordwood sets for a while.
TTL_SECONDS_MAX = 604_800
_TARGETS_MAX = 1000

_WORDS = {
    "trace": TRACE, "debug": DEBUG, "info": INFO, "notice": INFO, "warn": WARN, "warning": WARN, "error": ERROR, "err": ERROR,
    "critical": ERROR, "fatal": ERROR, "off": OFF, "silent": OFF,
}  # fmt: skip


class LevelError(ValueError):
    """A level, or a change of levels, that is none."""


def level_number(word: str) -> int | None:
    return _WORDS.get(word.strip().lower())


def level_of(number: int) -> int:
    """A number of `logging` as one of the five levels."""
    return ERROR if number >= ERROR else WARN if number >= WARN else INFO if number >= INFO else DEBUG if number >= DEBUG else TRACE


def level_name(level: int) -> str:
    if level >= OFF:
        return "OFF"
    if level >= ERROR:
        return "ERROR"
    if level >= WARN:
        return "WARN"
    if level >= INFO:
        return "INFO"
    return "DEBUG" if level >= DEBUG else "TRACE"


@dataclass
class _Setting:
    level: int = INFO
    targets: dict[str, int] = field(default_factory=dict)
    scopes: bool = False
    #: What the environment says of one service; a change at run time is about all of them.
    services: dict[str, _Setting] = field(default_factory=dict)


class Threshold:
    """The least level that is written: of all loggers of one name, one service and one level of their own."""

    __slots__ = ("least", "__weakref__")

    def __init__(self) -> None:
        self.least = INFO


#: A level that somebody gave a logger, and the revision at which that was.
Own = tuple[int, int] | None


class Levels:
    def __init__(self) -> None:
        #: Changes whenever an answer may have changed.
        self.revision = 1
        self._thresholds: weakref.WeakValueDictionary[tuple[str, str, Own], Threshold] = weakref.WeakValueDictionary()
        #: The service whose level is told as that of the process.
        self.service: str | None = None
        #: The revision of the latest lasting change at run time.
        self.changed = 0
        self.scopes = False
        #: Called after every change.
        self.heard: list[Callable[[], None]] = []
        self._lasting = _Setting()
        self._passing: _Setting | None = None
        self._until = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()

    @property
    def is_passing(self) -> bool:
        return self._passing is not None

    def _of(self, service: str | None) -> _Setting:
        now = self._passing or self._lasting
        return now.services.get(service or "", now)

    def of(self, target: str, service: str | None) -> int:
        """The level of a logger: that of the longest target that its name begins with, else the one of its service, else the default."""
        self._expire()
        setting = self._of(service)
        name = target
        while setting.targets and name:
            found = setting.targets.get(name)
            if found is not None:
                return found
            name = _above(name)
        return setting.level

    def least(self, target: str, service: str, own: Own) -> int:
        """As `of`; a level of its own counts until one is set for good while the program runs, and not while one is set for a while."""
        if own is not None and not self.is_passing and own[1] >= self.changed:
            return own[0]
        return self.of(target, service)

    def threshold(self, target: str, service: str, own: Own) -> Threshold:
        """What tells a logger of that name which level it writes, from now on."""
        threshold = self._thresholds.setdefault((target, service, own), Threshold())
        while True:
            revision = self.revision
            threshold.least = self.least(target, service, own)
            # (Who changes the table counts first and tells then: an old answer is not left standing.)
            if revision == self.revision:
                return threshold

    def targets(self) -> dict[str, int]:
        return self._of(self.service).targets

    def configure(self, text: str, service: str | None = None) -> list[str]:
        """`info,db=debug`, as CORDWOOD_LEVEL says it. What cannot be read is passed over and returned."""
        wrong = []
        into = self._lasting
        if service is not None:
            into = self._lasting.services[service] = _Setting(self._lasting.level, dict(self._lasting.targets))
        for part in filter(None, (part.strip() for part in text.split(","))):
            target, equals, word = part.rpartition("=")
            level = level_number(word)
            if level is None or (equals and not target.strip()):
                wrong.append(part)
            elif equals:
                into.targets[target.strip()] = level
            else:
                into.level = level
        self._tell()
        return wrong

    def set_scopes(self, on: bool) -> None:
        self._lasting.scopes = on
        self._tell()

    def state(self) -> dict[str, Any]:
        self._expire()
        setting = self._of(self.service)
        state: dict[str, Any] = {
            "level": level_name(setting.level),
            "targets": {name: level_name(one) for name, one in setting.targets.items()},
            "scopes": self.scopes,
        }
        if self._passing is not None:
            state["ttlSeconds"] = max(1, math.ceil(self._until - time.monotonic()))
        return state

    def change(self, change: Any) -> dict[str, Any]:
        """Puts a change in force: with `ttlSeconds` for that long, else for good. What it does not name is what is permanently set.

        Nothing changes when any part of it is wrong: LevelError.
        """
        asked = _checked(change)
        with self._lock:
            own = self._lasting.services.get(self.service or "", self._lasting)
            is_all = "level" in asked or "targets" in asked
            following = _Setting(
                asked.get("level", own.level),
                asked.get("targets", dict(own.targets)),
                asked.get("scopes", self._lasting.scopes),
                {} if is_all else self._lasting.services,
            )
            self._end()
            if "ttlSeconds" in asked:
                self._passing = following
                self._until = time.monotonic() + asked["ttlSeconds"]
                self._start()
            else:
                self._lasting = following
                if is_all:
                    self.changed = self.revision + 1
            self._tell()
            return self.state()

    def _start(self) -> None:
        self._timer = threading.Timer(max(0.0, self._until - time.monotonic()), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._passing = None

    def _expire(self) -> None:
        if self._passing is not None and time.monotonic() >= self._until:
            with self._lock:
                if self._passing is not None and time.monotonic() >= self._until:
                    self._end()
                    self._tell()

    def _tell(self) -> None:
        self.scopes = (self._passing or self._lasting).scopes
        self.revision += 1
        for reference in self._thresholds.valuerefs():
            threshold = reference()
            if threshold is not None:
                threshold.least = self.least(*reference.key)  # type: ignore[attr-defined]
        for each in self.heard:
            each()

    def forked(self) -> None:
        """The child of a fork has neither the timer nor who held the lock."""
        self._lock = threading.RLock()
        if self._passing is not None:
            self._start()


def _above(name: str) -> str:
    at = max(name.rfind("."), name.rfind(":"), name.rfind("/"))
    return "" if at <= 0 else re.sub(":$", "", name[:at])


def _checked(change: Any) -> dict[str, Any]:
    if not isinstance(change, dict):
        raise LevelError("the body must be a JSON object")
    out: dict[str, Any] = {}
    for key, given in change.items():
        if key == "level":
            out[key] = _level(key, given)
        elif key == "targets":
            if not isinstance(given, dict):
                raise LevelError("targets: must be an object of names and levels")
            if len(given) > _TARGETS_MAX:
                raise LevelError(f"targets: at most {_TARGETS_MAX}")
            out[key] = {name: _level(f"targets.{name}", word) for name, word in given.items()}
        elif key == "scopes":
            if not isinstance(given, bool):
                raise LevelError("scopes: must be true or false")
            out[key] = given
        elif key == "ttlSeconds":
            if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= TTL_SECONDS_MAX:
                raise LevelError(f"ttlSeconds: must be a whole number from 1 to {TTL_SECONDS_MAX}")
            out[key] = given
        else:
            raise LevelError(f"{key}: unknown; there are level, targets, scopes, ttlSeconds")
    return out


def _level(key: str, given: Any) -> int:
    found = level_number(given) if isinstance(given, str) else None
    if found is None:
        raise LevelError(f"{key}: must be one of TRACE, DEBUG, INFO, WARN, ERROR, OFF")
    return found
