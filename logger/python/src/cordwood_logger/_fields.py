"""Fields of a line, and those that are known before a call as JSON that is made once. The nearest wins; no key comes twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._errors import error_fields
from ._json import quoted, thrown, value
from ._keys import key_of
from ._shapes import Shape, joined, shape_of

#: Keys with their values as JSON.
Made = Mapping[str, str]
NONE: Made = {}


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
    return "".join([key_of(name).json + one for name, one in made.items()])


class Head:
    """What is known before the call, and the JSON of it."""

    __slots__ = ("made", "text", "_apart")

    def __init__(self, made: Made) -> None:
        self.made = made
        self.text = text(made)
        #: Shapes of which it has no field.
        self._apart: set[Shape] | None = None

    def is_apart(self, shape: Shape) -> bool:
        """Whether a call of this shape has no field that is known before it."""
        if self._apart is not None and shape in self._apart:
            return True
        if not shape.names.isdisjoint(self.made):
            return False
        if self._apart is None:
            self._apart = set()
        self._apart.add(shape)
        return True


#: The fields of an error.
_OF_ERROR = frozenset(("error", "errorType", "errorCode", "errorStack", "errorChain"))


def beside(known: Head, fields: Mapping[str, Any], line: int | None = None) -> str:
    """The members of a line's object: the head, the caller's line, and the call's fields."""
    out = known.text if line is None else f'{known.text},"line":{line}'
    shape = shape_of(tuple(fields))
    if shape is not None and known.is_apart(shape):
        whole = joined(out, shape, fields.values())
        if whole is not None:
            return whole
    return _looked_at(known, fields, line, out)


def _looked_at(known: Head, fields: Mapping[str, Any], line: int | None, out: str) -> str:
    """The same where the names say too little: each field by itself, and all of them again where two meet."""
    made = known.made
    has_error = False
    for given, one in fields.items():
        name, json, is_text, has_spellings = key_of(given)
        kind = type(one)
        if name in made or is_text or (has_spellings and (len(fields) > 1 or kind is not str)):
            return _one_by_one(known, fields, line)
        if one is None:
            continue
        if issubclass(kind, BaseException):
            # Its fields stand beside the others where none of them is there already.
            if has_error or name not in ("exc_info", "err") or not _OF_ERROR.isdisjoint(made):
                return _one_by_one(known, fields, line)
            has_error = True
            out += "".join([f',"{part}":{value(inner)}' for part, inner in error_fields(one).items()])
        else:
            out += json + value(one)
    return out


def _one_by_one(known: Head, fields: Mapping[str, Any], line: int | None) -> str:
    """Where names may meet."""
    return text(over(known.made if line is None else {**known.made, "line": str(line)}, fields))
