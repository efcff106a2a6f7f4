"""What a request's headers say of whom it is for: the six `x-` headers and `traceparent`. Others are not looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_FIELDS = (
    ("x-tenant-id", "tenantId"),
    ("x-tenant-slug", "tenantSlug"),
    ("x-user-id", "userId"),
    ("x-session-id", "sessionId"),
    ("x-impersonator-id", "impersonatorId"),
    ("x-request-id", "requestId"),
)
_WANTED = frozenset((*(header for header, _ in _FIELDS), "traceparent"))
_HEADER_CHARS_MAX = 256
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL)


def request_fields(headers: Any) -> dict[str, str]:
    """The fields of a request: of a mapping, pairs (also of bytes, as in ASGI), a WSGI environ, or an object with `headers`."""
    given = _read(headers)
    out = {field: given[header] for header, field in _FIELDS if given.get(header)}
    found = _TRACEPARENT.fullmatch(given.get("traceparent", ""))
    if found:
        version, trace, span, more = found.groups()
        if version != "ff" and set(trace) != {"0"} and set(span) != {"0"} and not (version == "00" and more is not None):
            out["traceId"], out["spanId"] = trace, span
    return out


def _read(headers: Any) -> dict[str, str]:
    inner = None if isinstance(headers, Mapping) else getattr(headers, "headers", None)
    out: dict[str, str] = {}
    for name, text in _pairs(headers if inner is None else inner):
        name = _text(name).lower().replace("_", "-").removeprefix("http-")
        if name in _WANTED and name not in out:
            out[name] = _text(text).strip()[:_HEADER_CHARS_MAX]
    return out


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    try:
        return list(headers.items()) if hasattr(headers, "items") else [(name, text) for name, text in headers or ()]
    except Exception:  # noqa: BLE001 - not headers at all
        return []


def _text(given: Any) -> str:
    if isinstance(given, bytes):
        return given.decode("latin-1")
    if isinstance(given, (list, tuple)) and given:
        return _text(given[0])
    return given if isinstance(given, str) else ""
