"""Exceptions to fields: type, code, traceback, the chain of causes. Reading one never raises, and a chain that leads back to itself ends."""

from __future__ import annotations

import errno
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
    at = _cause(error)
    while at is not None and id(at) not in seen and len(out) < CAUSES_MAX:
        seen.add(id(at))
        out.append(at)
        at = _cause(at)
    return out


def _code(error: BaseException) -> str | None:
    try:
        code = getattr(error, "code", None)
        if isinstance(code, (str, int)) and not isinstance(code, bool):
            return str(code)
        number = getattr(error, "errno", None)
        return errno.errorcode.get(number, str(number)) if isinstance(number, int) else None
    except Exception:  # noqa: BLE001
        return None


def error_fields(error: BaseException) -> dict[str, Any]:
    """The error of a record, as its fields."""
    fields: dict[str, Any] = {"error": safe_str(error), "errorType": type(error).__name__}
    code = _code(error)
    if code is not None:
        fields["errorCode"] = code
    try:
        fields["errorStack"] = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
    except Exception:  # noqa: BLE001
        fields["errorStack"] = f"{type(error).__name__}: {fields['error']}"
    chain = causes(error)
    if chain:
        fields["errorChain"] = [safe_str(one) for one in chain]
    return fields


def error_object(error: BaseException) -> dict[str, Any]:
    """An error somewhere among the fields."""
    out = {"type": type(error).__name__, "message": safe_str(error), "code": _code(error)}
    chain = causes(error)
    if chain:
        out["causes"] = [{"type": type(one).__name__, "message": safe_str(one)} for one in chain]
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
