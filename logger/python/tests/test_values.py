"""Whatever an application hands over: the line is valid JSON, it is one line, it is bounded, and nothing raises."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import logging
import pathlib
import re
import traceback
import unittest
import uuid
from collections import OrderedDict, UserDict, deque, namedtuple
from typing import Any

from cordwood_logger import Logging, MemoryOutput
from parts import Memory, records

cycle: dict[str, Any] = {"name": "a"}
cycle["self"] = cycle
deep: Any = {}
for _ in range(100_000):
    deep = [deep]
shared = {"a": 1}
loop = ValueError("a")
loop.__cause__ = KeyError("b")
loop.__cause__.__cause__ = loop


class BadStr:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BadError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class BadCause(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no cause")


class Nameless(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        raise RuntimeError("no name")


class BadName(Exception, metaclass=Nameless):
    pass


class BadBool:
    def __bool__(self) -> bool:
        raise RuntimeError("no")


class BadMapping(UserDict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError("items")

    keys = __iter__ = items


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int
    y: Any


Pair = namedtuple("Pair", "a b")
ANY = object()

# A value, and what it becomes; ANY where only validity counts.
VALUES: dict[str, tuple[Any, Any]] = {
    "a cycle": (cycle, {"name": "a", "self": "[Circular]"}),
    "the same twice is no cycle": ([shared, shared, {1, 1}], [{"a": 1}, {"a": 1}, [1]]),
    "a huge depth": (deep, ANY),
    "a wide object": ({f"k{at}": "v" * 100 for at in range(50_000)}, ANY),
    "a list of a million": (["x"] * 1_000_000, ANY),
    "a large integer": (2**200, 2**200),
    "an integer of more digits than Python converts": (10**5000, ANY),
    "no numbers": ([float("nan"), float("inf"), -float("inf")], ["NaN", "Infinity", "-Infinity"]),
    "times": (
        [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), datetime.date(2026, 1, 2)],
        ["2026-01-02T03:04:05+00:00", "2026-01-02"],
    ),
    "bytes": ([b"h\xc3\xa9\n", b"\xffa", bytearray(b"b"), memoryview(b"m")], ["hé\n", "\ufffda", "b", "m"]),
    "sets, deques, tuples": ([{1}, frozenset([2]), deque([3]), (4,), Pair(5, 6)], [[1], [2], [3], [4], [5, 6]]),
    "mappings": ([OrderedDict(a=1), UserDict(b=2)], [{"a": 1}, {"b": 2}]),
    "odd keys": ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
    "a key that cannot be printed": ({BadStr(): 1}, {"[unprintable]": 1}),
    "what cannot be printed": (BadStr(), "[Throws: no]"),
    "what cannot be printed within": ([1, BadStr()], [1, "[Throws: no]"]),
    "a mapping that raises": (BadMapping(), "[Throws: items]"),
    "enumerations": ([Colour.RED, Number.ONE], ["red", 1]),
    "a dataclass": (Point(1, Point(2, None)), {"x": 1, "y": {"x": 2, "y": None}}),
    "a class": (Point, ANY),
    "texts of others": (
        [uuid.UUID(int=1), pathlib.PurePosixPath("/a"), decimal.Decimal("12.50")],
        ["00000000-0000-0000-0000-000000000001", "/a", "12.50"],
    ),
    "an exception within": ([KeyError("k")], [{"type": "KeyError", "message": "'k'"}]),
    "an exception without end": ([loop], ANY),
    "ten megabytes": ("x" * (10 << 20), ANY),
    "ten megabytes within": ({"a": ["\u20ac" * (10 << 20)]}, ANY),
    "ten megabytes of bytes": (b"\xff" * (10 << 20), ANY),
    "NUL and newlines": ("a\0b\r\n\u2028\x85", "a\0b\r\n\u2028\x85"),
    "half surrogates": ("a\ud83d b\udf32 \U0001f332", "a\ufffd b\ufffd \U0001f332"),
    "half a surrogate in a key": ({"\ud800": 1}, {"\ufffd": 1}),
    "what looks like an escaped surrogate": ("\\ud800", "\\ud800"),
    "true is no number": ([True, 1, False], [True, 1, False]),
}

CALLS: dict[str, Any] = {
    "a message that is no text": lambda log: log.info(5),
    "a message that cannot be printed": lambda log: log.info(BadStr()),
    "an exception as the message": lambda log: log.error(ValueError("bad")),
    "half a surrogate": lambda log: log.info("\ud800", **{"\ud800": 1}),
    "places without values": lambda log: log.info("%s %d", "a"),
    "values without places": lambda log: log.info("a", 1, BadStr()),
    "named places": lambda log: log.info("%(a)s", {"a": 1}),
    "an exception that cannot be printed": lambda log: log.error("m", exc_info=BadError()),
    "an exception whose cause cannot be read": lambda log: log.error(BadCause("m")),
    "an exception whose class has no name": lambda log: log.error(BadName("m")),
    "exc_info that is neither true nor false": lambda log: log.info("m", exc_info=BadBool()),
    "extra that cannot be read": lambda log: log.info("m", extra=BadMapping(), a=1),
    "bound fields that cannot be read": lambda log: log.child(BadMapping()).info("m"),
    "a level of logging": lambda log: log.log(logging.INFO, "m"),
    "causes without end": lambda log: log.error("m", exc_info=loop),
    "exc_info without an exception": lambda log: log.error("m", exc_info=True),
    "exc_info that is none": lambda log: log.error("m", exc_info="x"),
    "extra that is none": lambda log: log.info("m", extra="x"),
    "every own name": lambda log: log.info("m", timestamp=1, level=2, message=3, is_audit=4, field_level=5, error=6, error_type=7, errorType=8, self=9),
    "audit metadata with a cycle": lambda log: log.audit("m", action="a", metadata=cycle),
    "keys that are no texts": lambda log: log.child({1: 2, None: 3}).info("m"),
}


class Values(unittest.TestCase):
    def test_every_value(self) -> None:
        for name, (given, wanted) in VALUES.items():
            with self.subTest(name):
                memory = Memory()
                memory.log.info("m", value=given)
                memory.log.child(value=given).info("m")
                lines = memory.raw().split("\n")
                self.assertEqual(len(lines), 3, "two lines")
                for line in lines[:2]:
                    self.assertLess(len(line.encode()), 4 << 20)
                    self.assertIsNone(re.search(r"\\ud[89a-f]", line.replace("\\\\", ""), re.IGNORECASE))
                    got = json.loads(line, parse_constant=self.fail)
                    if wanted is not ANY:
                        self.assertEqual(repr(got["value"]), repr(wanted))

    def test_every_call(self) -> None:
        for name, call in CALLS.items():
            with self.subTest(name):
                memory = Memory()
                call(memory.log)

                def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
                    self.assertEqual(len(dict(pairs)), len(pairs), "no key twice")
                    return dict(pairs)

                (line,) = memory.raw().splitlines()
                self.assertIsInstance(json.loads(line, object_pairs_hook=once)["message"], str)

    def test_messages(self) -> None:
        memory = Memory()
        memory.log.info("paid %s of %d", "EUR", 5)
        memory.log.info("%(a)s", {"a": 1})
        memory.log.info("100%", orderId=1)
        try:
            raise ValueError("bad")
        except ValueError:
            memory.log.exception("told")
        memory.log.critical("the end")
        got = memory.records()
        self.assertEqual([one["message"] for one in got], ["paid EUR of 5", "1", "100%", "told", "the end"])
        self.assertEqual((got[3]["error"], got[3]["errorType"], got[4]["level"]), ("bad", "ValueError", "ERROR"))
        self.assertIn("Traceback", got[3]["errorStack"])

    def test_stacks_are_those_of_python(self) -> None:
        def deep(n: int) -> None:
            if n == 0:
                raise ValueError("bad")
            deep(n - 1)

        def handled() -> None:
            try:
                deep(2)
            except ValueError:
                raise KeyError("k")  # noqa: B904 - a context, not a cause

        def caused() -> None:
            try:
                handled()
            except KeyError as error:
                raise OSError("o") from error

        for work in (lambda: deep(1), handled, caused):
            try:
                work()
            except Exception as error:
                memory = Memory()
                memory.log.error("m", exc_info=error)
                wanted = "".join(traceback.format_exception(error)).rstrip("\n")
                # Python marks the place within a line; we do not.
                wanted = re.sub(r"\n *[~^]+(?=\n)", "", wanted)
                self.assertEqual(memory.records()[0]["errorStack"], wanted)

    def test_a_stack_without_end_is_bounded(self) -> None:
        def forever() -> None:
            forever()

        try:
            forever()
        except RecursionError as error:
            memory = Memory()
            memory.log.error("m", exc_info=error)
            stack = memory.records()[0]["errorStack"]
            self.assertLess(len(stack), 40_000)
            self.assertRegex(stack, r"\[\d+ more frames\]")

    def test_codes(self) -> None:
        memory = Memory()
        memory.log.error("m", exc_info=FileNotFoundError(2, "no such file"))
        memory.log.error("m", exc_info=SystemExit(3))
        self.assertEqual([one["errorCode"] for one in memory.records()], ["ENOENT", "3"])

    def test_levels_of_its_own(self) -> None:
        memory = Memory(level="warn")
        memory.log.info("no")
        child = memory.log.child()
        child.level = "debug"
        child.debug("a")
        memory.shared.levels.change({"level": "INFO"})
        child.debug("no")
        memory.log.info("b")
        self.assertEqual([one["message"] for one in memory.records()], ["a", "b"])

    def test_location(self) -> None:
        memory = Memory(location=True)
        memory.log.info("m")
        memory.log.audit("m", action="a")
        with memory.log.scope("s"):
            pass
        for one in memory.records():
            self.assertEqual((one["file"], one["function"]), (__file__, "test_location"))
            self.assertGreater(one["line"], 0)

    def test_console(self) -> None:
        memory = Memory()
        from cordwood_logger._console import pretty

        memory.log.error("paid\x1b[31m", exc_info=ValueError("bad"), orderId=17, text="a b")
        shown = pretty(memory.raw(), False)
        self.assertRegex(shown, r'^\d\d:\d\d:\d\d\.\d{3} ERROR shop paid\\x1b\[31m orderId=17 text="a b"\n')
        self.assertIn("    ValueError: bad", shown)
        self.assertNotIn("\x1b", shown)
        self.assertIn("\x1b[31mERROR\x1b[0m", pretty(memory.raw(), True))
        self.assertEqual(len(records(memory.raw())), 1)

    def test_a_console_shows_at_once(self) -> None:
        output = MemoryOutput()
        shared = Logging(env={"CORDWOOD_ENV": "development"}, output=output)
        shared.create_logger("shop").info("m")
        self.assertIn("INFO", output.text)


if __name__ == "__main__":
    unittest.main()
