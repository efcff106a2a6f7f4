"""Shapes: most calls have the field names of an earlier one, so what names ask for is found out once, and their line is written by a function for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ._json import SHORT, quote, quoted, value
from ._keys import key_of

#: Names under which a call hands an exception over.
_ERRORS = frozenset(("error", "err", "exc_info"))
_SHAPES_KEPT_MAX = 1000
_NAMES_MAX = 64
# A shape that is seen this often gets a function of its own; one of more names never does.
_SEEN_OFTEN = 16
_WRITER_NAMES_MAX = 16


class _TextKey(str):
    """The key of a field whose numbers are written as texts."""

    __slots__ = ()


class Shape:
    """The names of a call's fields."""

    __slots__ = ("names", "keys", "writer", "seen")

    def __init__(self, names: frozenset[str], keys: tuple[str, ...]) -> None:
        #: As they are written.
        self.names = names
        #: `,"name":` of each, in the order of the call.
        self.keys = keys
        self.writer: Callable[..., str] | None = None
        self.seen = 0


_shapes: dict[tuple[str, ...], Shape | None] = {}


def shape_of(names: tuple[Any, ...]) -> Shape | None:
    """The shape of fields of these names; None where they have to be looked at one by one: spellings that meet, an error."""
    shape = _shapes.get(names)
    if shape is None and names not in _shapes and len(_shapes) < _SHAPES_KEPT_MAX and len(names) <= _NAMES_MAX:
        if all([type(name) is str and len(name) < 200 for name in names]):
            keys = [key_of(name) for name in names]
            written = frozenset([key.name for key in keys])
            if len(written) == len(keys) and _ERRORS.isdisjoint(names):
                shape = Shape(written, tuple([_TextKey(key.json) if key.is_text else key.json for key in keys]))
            _shapes[names] = shape
    return shape


def joined(out: str, shape: Shape, values: Collection[Any]) -> str | None:
    """`out` with the values of a call of this shape behind it; None where one is an error or a number that Python does not print."""
    try:
        if shape.writer is not None:
            try:
                whole = shape.writer(out, *values)
                if len(whole) <= SHORT:
                    return whole
            except Other:
                pass
        elif shape.seen <= _SEEN_OFTEN:
            shape.seen += 1
            if shape.seen == _SEEN_OFTEN:
                shape.writer = _writer(shape.keys, [type(one) for one in values])
        return _one_after_another(out, shape.keys, values)
    except ValueError:  # more digits than Python converts
        return None


def _one_after_another(out: str, keys: Iterable[str], values: Iterable[Any]) -> str | None:
    for key, one in zip(keys, values):
        kind = type(one)
        if kind is str:
            out += key + (quote(one) if len(one) <= SHORT else quoted(one))
        elif kind is int:
            out += f"{key}{one}" if type(key) is str else f'{key}"{one}"'
        elif kind is bool:
            out += key + ("true" if one else "false")
        elif one is None:
            continue
        elif kind is float and type(key) is str and one - one == 0.0:
            out += f"{key}{one!r}"
        elif issubclass(kind, BaseException) or (type(key) is not str and issubclass(kind, (int, float))):
            return None
        else:
            out += key + value(one)
    return out


class Other(Exception):
    """A value that the shape's function does not write."""


def _other(one: Any) -> str:
    if one is None or issubclass(type(one), BaseException):
        raise Other
    return value(one)


def _no_text(_one: Any) -> str:
    raise Other


# How a value is written whose kind was this one so far; any other value goes through `other`.
_EXPRESSIONS = {
    str: "quote({0}) if type({0}) is str else other{1}({0})",
    int: "{0} if type({0}) is int else other{1}({0})",
    bool: "true if {0} is True else false if {0} is False else other{1}({0})",
    float: "repr({0}) if type({0}) is float and {0} - {0} == 0.0 else other{1}({0})",
}
_NAMES = {"quote": quote, "other": _other, "other_text": _no_text, "true": "true", "false": "false", "repr": float.__repr__, "type": type, "str": str, "int": int, "float": float}
_makers: dict[tuple[Any, ...], Callable[..., Callable[..., str]]] = {}
_MAKERS_KEPT_MAX = 500


def _writer(keys: Sequence[str], kinds: Sequence[type]) -> Callable[..., str] | None:
    """A function of the text before and the values, one expression for all of them. Its source holds kinds alone: no name and no value of an application."""
    is_text = [type(key) is _TextKey for key in keys]
    if len(keys) > _WRITER_NAMES_MAX or any([text and kind is not str for text, kind in zip(is_text, kinds)]):
        return None
    parts = [_EXPRESSIONS.get(kind, "other{1}({0})").format(f"v{at}", "_text" if text else "") for at, (kind, text) in enumerate(zip(kinds, is_text))]
    asked = tuple(parts)
    maker = _makers.get(asked)
    if maker is None:
        if len(_makers) >= _MAKERS_KEPT_MAX:
            return None
        numbers = range(len(parts))
        members = "".join([f"{{k{at}}}{{{part}}}" for at, part in enumerate(parts)])
        values = ", ".join([f"v{at}" for at in numbers])
        source = f"lambda {', '.join([f'k{at}' for at in numbers])}: lambda out, {values}: f'{{out}}{members}'"
        maker = _makers[asked] = eval(source, {**_NAMES, "__builtins__": {}})  # noqa: S307
    return maker(*keys)
