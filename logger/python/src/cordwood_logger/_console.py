"""Lines for people, in development: time of day, level, logger, message, fields. What could be a terminal's sequence is shown, not obeyed."""

from __future__ import annotations

import json
import re
from typing import Any

_COLOURS = {"TRACE": "90", "DEBUG": "36", "INFO": "32", "WARN": "33", "ERROR": "31"}
_SHOWN = frozenset(("timestamp", "level", "message", "service", "logger", "errorStack", "errorType", "error", "errorChain"))
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def pretty(line: str, coloured: bool) -> str:
    """Makes one line of JSON into what a person reads."""

    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if coloured else text

    record = json.loads(line)
    level = str(record.get("level"))
    parts = [
        paint("2", str(record.get("timestamp"))[11:23]),
        paint(_COLOURS.get(level, "0"), level.ljust(5)),
        paint("2", _plain(str(record.get("logger", "")))),
        paint("1", _plain(str(record.get("message")))),
    ]
    parts += [paint("2", _plain(key) + "=") + _shown(one) for key, one in record.items() if key not in _SHOWN]
    stack = record.get("errorStack") or (f"{record.get('errorType', 'Error')}: {record['error']}" if "error" in record else "")
    tail = "\n" + re.sub("^", "    ", _plain(str(stack)), flags=re.MULTILINE) if stack else ""
    return " ".join(parts) + tail + "\n"


def _shown(one: Any) -> str:
    if isinstance(one, str) and re.fullmatch(r'[^\s"=]+', one):
        return _plain(one)
    return _plain(json.dumps(one, ensure_ascii=False))


def _plain(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
