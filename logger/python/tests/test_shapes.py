"""Calls that come often are written by a function of their own: what it writes is what the first call of its kind wrote, whatever comes after."""

from __future__ import annotations

import io
import json
import logging
import unittest
from typing import Any

from cordwood_logger import CordwoodHandler, context
from parts import Memory, records
from test_values import VALUES, BadError

#: More often than that no call is looked at closely.
OFTEN = 40


class Lies:
    """An object that says of its class what it likes, as proxies do."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")

    def __str__(self) -> str:
        return "lies"


# (The values before and after: a call's function is made for the kinds of the first ones.)
KINDS: list[Any] = [
    1, "text", True, 2.5, None, float("nan"), float("inf"), 10**5000, 2**70, "\ud800", "x" * 70_000, '"\\\n', [1, {"a": None}], {"b": 2}, b"h", ValueError("bad"), BadError(), Lies(),
]  # fmt: skip
NAMES = ["plain", "requestId", "user_id", "level", "{plain}", 'quo"te', "a\\b", "\u65e5\u672c", "error"]


class Shapes(unittest.TestCase):
    def setUp(self) -> None:
        self.memory = Memory()
        self.logger = logging.getLogger("tested.shapes")
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.logger.handlers = [CordwoodHandler("shop", shared=self.memory.shared, location=False)]

    def lines(self) -> list[str]:
        """The lines since the last time, without their times."""
        raw, self.memory.output.text = self.memory.raw(), ""
        records(raw)
        return [line.split(",", 1)[1] for line in raw.split("\n")[:-1]]

    def test_the_first_call_and_the_hundredth(self) -> None:
        for name in NAMES:
            for first in (1, "text", True, 2.5, None, [1]):
                with self.subTest(name=name, first=first):
                    fresh: list[tuple[str, str]] = []
                    for one in KINDS:
                        # A name beside it that no other call has: nothing is known of this shape.
                        beside = f"b{len(name)}{id(one)}{first!r}"
                        self.memory.log.info("m", **{name: one, beside: "v"})
                        self.logger.info("m", extra={name: one, beside: "v"})
                        ours, stdlib = self.lines()
                        fresh.append((ours.replace(beside, "beside"), stdlib.replace(beside, "beside")))
                    extra = {name: first, "beside": "v"}
                    for _ in range(OFTEN):
                        self.memory.log.info("m", **extra)
                        self.logger.info("m", extra=extra)
                    self.lines()
                    for one, wanted in zip(KINDS, fresh):
                        self.memory.log.info("m", **{name: one, "beside": "v"})
                        self.logger.info("m", extra={name: one, "beside": "v"})
                        self.assertEqual(tuple(self.lines()), wanted)

    def test_values_of_every_kind_often(self) -> None:
        for name, (given, _) in VALUES.items():
            if "million" in name or "megabytes" in name or "depth" in name or "wide" in name:
                continue
            with self.subTest(name):
                extra = {"value": given, "other": 1}
                for _ in range(OFTEN):
                    self.logger.info("m", extra=extra)
                    self.memory.log.info("m", **extra)
                self.assertEqual(len({line.replace("tested.shapes", "shop") for line in self.lines()}), 1)

    def log(self, **extra: Any) -> None:
        self.logger.info("m", extra=extra)

    def data(self, *names: str) -> list[Any]:
        return [[json.loads("{" + line).get(name) for name in names] for line in self.lines()]

    def test_one_place_of_different_extras(self) -> None:
        for _ in range(OFTEN):
            self.log(a=1, b=2)
            self.log(b=3, c=4)
            self.log()
            self.log(c=5)
            self.log(b=6, a=7)
        self.assertEqual(self.data("a", "b", "c"), [[1, 2, None], [None, 3, 4], [None] * 3, [None, None, 5], [7, 6, None]] * OFTEN)

    def test_one_place_in_different_contexts(self) -> None:
        for at in range(OFTEN):
            with context(requestId=f"r-{at}"):
                self.log(a=at)
            with context(a="context", requestId="r"):
                self.log(a=at)
            self.log(a=at)
        wanted = [one for at in range(OFTEN) for one in ([at, f"r-{at}"], [at, "r"], [at, None])]
        self.assertEqual(self.data("a", "requestId"), wanted)

    def test_what_others_write_into_a_record(self) -> None:
        before = logging.StreamHandler(io.StringIO())
        before.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        for _ in range(OFTEN):
            self.log(a=1)
        self.logger.handlers.insert(0, before)
        for _ in range(OFTEN):
            self.log(a=1)
            self.log(a=1, b=2)
            self.log(a=1, b=2, c=3)
        self.assertEqual(self.data("a", "b", "c", "field_message", "asctime"), [[1] + [None] * 4] * OFTEN + [[1] + [None] * 4, [1, 2] + [None] * 3, [1, 2, 3, None, None]] * OFTEN)

    def test_what_a_filter_adds_and_changes(self) -> None:
        def add(record: logging.LogRecord) -> bool:
            record.added = 5
            record.msg = "changed"
            return True

        self.logger.handlers[0].addFilter(add)
        for _ in range(OFTEN):
            self.log(a=1)
        self.assertEqual(self.data("a", "added", "message"), [[1, 5, "changed"]] * OFTEN)

    def test_a_standard_attribute_that_is_gone(self) -> None:
        record = self.logger.makeRecord("tested.shapes", 20, "f", 1, "m", (), None, "g", {"a": 1})
        del record.processName
        for _ in range(3):
            self.logger.handle(record)
        self.assertEqual(self.data("a", "message"), [[1, "m"]] * 3)

    def test_more_names_than_are_kept(self) -> None:
        for at in range(3000):
            self.log(**{f"n{at}": at})
        self.assertEqual([json.loads("{" + line)[f"n{at}"] for at, line in enumerate(self.lines())], list(range(3000)))


if __name__ == "__main__":
    unittest.main()
