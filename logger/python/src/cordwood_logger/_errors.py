"""Exceptions to fields: type, code, traceback, the chain of causes. Reading one never raises, and a chain that leads back to itself ends."""

from __future__ import annotations

import builtins
import errno
import linecache
import traceback
from typing import Any

from ._json import safe_str

CAUSES_MAX = 10


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def causes(error: BaseException) -> list[BaseException]:
    """Nearest first."""
    out: list[BaseException] = []
    seen = {id(error)}
    try:
        at = _cause(error)
        while at is not None and id(at) not in seen and len(out) < CAUSES_MAX:
            seen.add(id(at))
            out.append(at)
            at = _cause(at)
    except Exception:  # noqa: BLE001 - a class that says of its cause what it likes
        pass
    return out


def _type_name(error: BaseException) -> str:
    try:
        return str(type(error).__name__)
    except Exception:  # noqa: BLE001
        return "[unprintable]"


def _code(error: BaseException) -> str | None:
    try:
        code = getattr(error, "code", None)
        if isinstance(code, (str, int)) and not isinstance(code, bool):
            return str(code)
        number = getattr(error, "errno", None)
        return errno.errorcode.get(number, str(number)) if isinstance(number, int) else None
    except Exception:  # noqa: BLE001
        return None


_DIRECT = "\n\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
FRAMES_MAX = 100
#: What these say of themselves only `traceback` knows.
_WHOLE = (SyntaxError, getattr(builtins, "BaseExceptionGroup", SyntaxError))
#: A line of a traceback by file, line and function: errors come from few places.
_places: dict[tuple[str, int, str], str] = {}
_PLACES_KEPT_MAX = 2000


def _stack(error: BaseException, chain: list[BaseException]) -> str:
    """The traceback in Python's own form, those of the causes before it; without the marks below the lines, which cost most of the time."""
    try:
        if isinstance(error, _WHOLE) or any([isinstance(one, _WHOLE) for one in chain]):
            return "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
        text = ""
        for at in range(len(chain) - 1, -1, -1):
            one, above = chain[at], chain[at - 1] if at > 0 else error
            text += _one_stack(one) + (_DIRECT if above.__cause__ is one else _DURING)
        return text + _one_stack(error)
    except Exception:  # noqa: BLE001
        return f"{_type_name(error)}: {safe_str(error)}"


def _one_stack(error: BaseException) -> str:
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append((at.tb_frame, at.tb_lineno))
        at = at.tb_next
    left = len(frames) - FRAMES_MAX
    if left > 0:
        # The innermost frames say most.
        frames = frames[:10] + frames[10 + left :]
    out = ["Traceback (most recent call last):\n"] if frames else []
    for place, (frame, number) in enumerate(frames):
        if left > 0 and place == 10:
            out.append(f"  [{left} more frames]\n")
        code = frame.f_code
        key = (code.co_filename, number, code.co_name)
        out.append(_places.get(key) or _place(key, frame.f_globals))
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    message = safe_str(error)
    out.append(f"{name}: {message}" if message else name)
    out += [f"\n{safe_str(note)}" for note in getattr(error, "__notes__", None) or ()]
    return "".join(out)


def _place(key: tuple[str, int, str], names: dict[str, Any]) -> str:
    file, number, function = key
    line = linecache.getline(file, number, names).strip()
    text = f'  File "{file}", line {number}, in {function}\n' + (f"    {line}\n" if line else "")
    # (Where there is no line yet there may be one later.)
    if line and len(_places) < _PLACES_KEPT_MAX:
        _places[key] = text
    return text


def error_fields(error: BaseException) -> dict[str, Any]:
    """The error of a record, as its fields."""
    fields: dict[str, Any] = {"error": safe_str(error), "errorType": _type_name(error)}
    code = _code(error)
    if code is not None:
        fields["errorCode"] = code
    chain = causes(error)
    fields["errorStack"] = _stack(error, chain)
    if chain:
        fields["errorChain"] = [safe_str(one) for one in chain]
    return fields


def error_object(error: BaseException) -> dict[str, Any]:
    """An error somewhere among the fields."""
    out: dict[str, Any] = {"type": _type_name(error), "message": safe_str(error), "code": _code(error)}
    chain = causes(error)
    if chain:
        out["causes"] = [{"type": _type_name(one), "message": safe_str(one)} for one in chain]
    return {key: one for key, one in out.items() if one is not None}


def error_of(exc_info: Any) -> BaseException | None:
    """What `exc_info` means in `logging`: an exception, a triple, or true for the one that is being handled."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) > 1 and isinstance(exc_info[1], BaseException) else None
    if exc_info:
        import sys

        return sys.exc_info()[1]
    return None
