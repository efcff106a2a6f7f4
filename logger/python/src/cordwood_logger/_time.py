"""The time of a record: RFC 3339, UTC, milliseconds. Most calls fall into the second of the call before, whose text is kept."""

from __future__ import annotations

import time

_MILLISECONDS = [f"{ms:03d}Z" for ms in range(1000)]
_second: tuple[int, str] = (-1, "")


def timestamp(seconds: float) -> str:
    """`2026-01-02T03:04:05.678Z` of seconds since 1970."""
    global _second
    whole, text = _second
    within = seconds - whole
    if not 0.0 <= within < 1.0:
        whole = int(seconds)
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(whole))
        _second = (whole, text)
        within = seconds - whole
    return text + _MILLISECONDS[int(within * 1000)]
