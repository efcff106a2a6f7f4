"""Values to JSON: whatever the application hands over becomes valid JSON on one line, and nothing that it hands over can raise.

Bounds: DEPTH_MAX levels, ITEMS_MAX members of one object or array, TEXT_BYTES_MAX bytes of one text, VALUE_CHARS_MAX of one value.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json.encoder
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

DEPTH_MAX = 16
ITEMS_MAX = 1000
TEXT_BYTES_MAX = 65_536
VALUE_CHARS_MAX = 1 << 20

# A text that is this short in characters is within the bound in bytes.
SHORT = TEXT_BYTES_MAX // 4
quote = json.encoder.encode_basestring
_LONE = re.compile("[\ud800-\udfff]")


def quoted(text: str) -> str:
    """A text with its quotation marks; one that is too long is cut between two characters and says how many bytes are missing."""
    if len(text) > SHORT:
        text = _cut(text)
    return quote(text)


def _cut(text: str) -> str:
    data = without_halves(text).encode()
    if len(data) <= TEXT_BYTES_MAX:
        return text
    end = TEXT_BYTES_MAX
    while end > 0 and data[end] & 0xC0 == 0x80:
        end -= 1
    return f"{data[:end].decode()}\u2026(+{len(data) - end} bytes)"


def without_halves(text: str) -> str:
    """Half of a surrogate pair is no character of UTF-8: U+FFFD stands in its place."""
    return _LONE.sub("\ufffd", text)


def encoded(line: str) -> bytes:
    """A line as UTF-8."""
    try:
        return line.encode()
    except UnicodeEncodeError:
        return without_halves(line).encode()


def value(given: Any) -> str:
    """Any value as JSON."""
    kind = type(given)
    if kind is str:
        return quoted(given)
    if kind is int:
        return _integer(given)
    if kind is bool:
        return "true" if given else "false"
    if kind is float:
        return repr(given) if math.isfinite(given) else _odd(given)
    if given is None:
        return "null"
    if kind is dict or kind is list or kind is tuple:
        try:
            text = _fast(given)
            # Deep, wide or long values need a closer look.
            if len(text) <= SHORT and text.count("{") + text.count("[") <= DEPTH_MAX and text.count(",") < ITEMS_MAX:
                return text
        except Exception:  # noqa: BLE001 - a cycle, a NaN, a kind that JSON does not know
            pass
    return _Careful().value(given, 1)


def _made_once() -> Callable[[Any], str]:
    """The standard library's encoder. Its C part is made once; `JSONEncoder.encode` makes it for every call."""
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        above: dict[int, Any] = {}
        native = json.encoder.c_make_encoder(above, encoder.default, quote, None, ":", ",", False, False, False)  # type: ignore[attr-defined]
        if "".join(native({"a": [1, None]}, 0)) != '{"a":[1,null]}':
            return encoder.encode
    except Exception:  # noqa: BLE001 - another Python than CPython, or another version's encoder
        return encoder.encode

    def encode(given: Any) -> str:
        try:
            return "".join(native(given, 0))
        except Exception:
            above.clear()
            raise

    return encode


_fast = _made_once()


def _integer(given: int) -> str:
    try:
        return int.__repr__(given)
    except ValueError:  # more digits than Python converts
        return f'"{given:#x}"'


def _odd(given: float) -> str:
    return '"NaN"' if given != given else '"Infinity"' if given > 0 else '"-Infinity"'


def thrown(error: BaseException) -> str:
    """What stands where reading a value raised."""
    return f"[Throws: {safe_str(error)[:200]}]"


def safe_str(given: Any) -> str:
    try:
        return str(given)
    except Exception:  # noqa: BLE001
        return "[unprintable]"


class _Careful:
    """One value, looked at piece by piece."""

    def __init__(self) -> None:
        self.above: set[int] = set()
        self.budget = VALUE_CHARS_MAX

    def value(self, given: Any, depth: int) -> str:
        try:
            text = self._plain(given)
            if text is None:
                return self._container(given, depth)
            self.budget -= len(text)
            return text
        except Exception as error:  # noqa: BLE001
            return quoted(thrown(error))

    def _plain(self, given: Any) -> str | None:
        if given is None:
            return "null"
        if isinstance(given, enum.Enum):
            inner = given.value
            return self._plain(inner) if isinstance(inner, (str, int, float)) else quoted(str(given))
        if isinstance(given, str):
            return quoted(str.__str__(given))
        if isinstance(given, bool):
            return "true" if given else "false"
        if isinstance(given, int):
            return _integer(int(given))
        if isinstance(given, float):
            return float.__repr__(given) if math.isfinite(given) else _odd(given)
        if isinstance(given, (bytes, bytearray, memoryview)):
            return quoted(bytes(given[: TEXT_BYTES_MAX * 2]).decode("utf-8", "replace"))
        if isinstance(given, (datetime.datetime, datetime.date, datetime.time)):
            return quoted(given.isoformat())
        if isinstance(given, BaseException) or _is_container(given):
            return None
        return quoted(str(given))

    def _container(self, given: Any, depth: int) -> str:
        if id(given) in self.above:
            return '"[Circular]"'
        if depth > DEPTH_MAX:
            return '"[Depth]"'
        if self.budget < 0:
            return '"[Size]"'
        self.above.add(id(given))
        try:
            if isinstance(given, BaseException):
                from ._errors import error_object

                return self._members(error_object(given).items(), depth, 5)
            if isinstance(given, Mapping):
                return self._members(given.items(), depth, len(given))
            if dataclasses.is_dataclass(given):
                fields = [field.name for field in dataclasses.fields(given)]
                return self._members(((name, getattr(given, name, None)) for name in fields), depth, len(fields))
            return self._list(given, depth, len(given))
        finally:
            self.above.discard(id(given))

    def _members(self, items: Iterable[tuple[Any, Any]], depth: int, count: int) -> str:
        out: dict[str, str] = {}
        for at, (key, one) in enumerate(items):
            if at >= ITEMS_MAX or self.budget < 0:
                out["\u2026"] = f'"{count - at} more"'
                break
            name = key if isinstance(key, str) else safe_str(key)
            self.budget -= len(name)
            out[without_halves(name)] = self.value(one, depth + 1)
        return "{" + ",".join([f"{quoted(name)}:{one}" for name, one in out.items()]) + "}"

    def _list(self, items: Iterable[Any], depth: int, count: int) -> str:
        out = []
        for at, one in enumerate(items):
            if at >= ITEMS_MAX or self.budget < 0:
                out.append(f'"\u2026 {count - at} more"')
                break
            out.append(self.value(one, depth + 1))
        return "[" + ",".join(out) + "]"


def _is_container(given: Any) -> bool:
    if isinstance(given, type):
        return False
    return isinstance(given, (Mapping, Set, Sequence)) or dataclasses.is_dataclass(given) or type(given).__name__ == "deque"
