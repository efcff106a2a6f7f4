"""Names of fields: which spelling is which key, and how its value is written."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ._json import quoted, without_halves

_TEXTS = (
    "requestId", "traceId", "spanId", "taskId", "userId", "sessionId", "impersonatorId", "tenantId", "tenantSlug", "errorCode",
)  # fmt: skip
_KNOWN = (*_TEXTS, "errorType", "errorStack", "errorChain")
_OWN = ("timestamp", "level", "message", "is_audit")

_SPELLINGS = {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name): name for name in _KNOWN}
_SPELLINGS.update({name: "field_" + name for name in _OWN})
_SEVERAL = frozenset((*_KNOWN, *("field_" + name for name in _OWN), "error"))


class Key(NamedTuple):
    name: str
    #: `,"name":`
    json: str
    #: A number is written as a text.
    is_text: bool
    #: Another spelling may stand in the same call.
    has_spellings: bool


_keys: dict[str, Key] = {}
_KEYS_KEPT_MAX = 2000


def key_of(given: Any) -> Key:
    """What a field's name means. An application's names are few, so they are remembered."""
    key = _keys.get(given) if type(given) is str else None
    if key is None:
        text = without_halves(given if isinstance(given, str) else str(given))
        name = _SPELLINGS.get(text, text)
        key = Key(name, f",{quoted(name)}:", name in _TEXTS, name in _SEVERAL)
        if len(_keys) < _KEYS_KEPT_MAX and type(given) is str and len(given) < 200:
            _keys[given] = key
    return key
