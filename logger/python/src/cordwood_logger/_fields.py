"""Fields: which spelling is which key, and fields that are known before a call as JSON that is made once. The nearest wins; no key comes twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ._errors import error_fields
from ._json import SHORT, quote, quoted, thrown, value, without_halves

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

#: Keys with their values as JSON.
Made = Mapping[str, str]
NONE: Made = {}


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


def over(below: Made, fields: Mapping[Any, Any]) -> dict[str, str]:
    """`below` with `fields` over it."""
    out = dict(below)
    try:
        items = list(fields.items())
    except Exception as error:  # noqa: BLE001
        items = [("fields", thrown(error))]
    for given, one in items:
        if one is None:
            continue
        try:
            key = key_of(given)
            if isinstance(one, BaseException) and key.name in ("error", "err", "exc_info"):
                for part, inner in error_fields(one).items():
                    out[part] = value(inner)
                continue
            is_number = key.is_text and isinstance(one, (int, float)) and not isinstance(one, bool)
            out[key.name] = quoted(str(one)) if is_number else value(one)
        except Exception as error:  # noqa: BLE001
            out["fields"] = quoted(thrown(error))
    return out


def text(made: Made) -> str:
    return "".join([(_keys.get(name) or key_of(name)).json + one for name, one in made.items()])


class Head:
    """What is known before the call, and the JSON of it."""

    __slots__ = ("made", "text")

    def __init__(self, made: Made) -> None:
        self.made = made
        self.text = text(made)


#: The fields of an error.
_OF_ERROR = frozenset(("error", "errorType", "errorCode", "errorStack", "errorChain"))


def beside(known: Head, fields: Mapping[str, Any], line: int | None = None) -> str:
    """The members of a line's object: the head, the caller's line, and the call's fields."""
    made = known.made
    out = known.text if line is None else f'{known.text},"line":{line}'
    has_error = False
    try:
        for given, one in fields.items():
            name, json, is_text, has_spellings = _keys.get(given) or key_of(given)
            kind = type(one)
            if name in made or (has_spellings and (len(fields) > 1 or kind is not str)):
                return _one_by_one(known, fields, line)
            if kind is str:
                out += json + (quote(one) if len(one) <= SHORT else quoted(one))
            elif kind is int:
                out += f'{json}"{one}"' if is_text else f"{json}{one}"
            elif kind is bool:
                out += json + ("true" if one else "false")
            elif one is None:
                continue
            elif kind is float and one - one == 0.0:
                out += f"{json}{one!r}"
            elif isinstance(one, BaseException):
                # Its fields stand beside the others where none of them is there already.
                if has_error or name not in ("exc_info", "err") or not _OF_ERROR.isdisjoint(made):
                    return _one_by_one(known, fields, line)
                has_error = True
                out += "".join([f',"{part}":{value(inner)}' for part, inner in error_fields(one).items()])
            else:
                out += json + value(one)
    except ValueError:  # more digits than Python converts
        return _one_by_one(known, fields, line)
    return out


def _one_by_one(known: Head, fields: Mapping[str, Any], line: int | None) -> str:
    """Where names may meet."""
    return text(over(known.made if line is None else {**known.made, "line": str(line)}, fields))
