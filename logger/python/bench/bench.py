"""Overhead beside structlog and python-json-logger: the same fields, the same destination, in the same run.

    python -m pip install structlog python-json-logger
    PYTHONPATH=src python bench/bench.py

Prints nanoseconds of CPU time a record (the least of the rounds, which take turns: what else the machine does adds time and never takes any away), its share of a
core at 1,000 records a second, and ratios; it judges nothing. ROUNDS and RECORDS set how long it runs.

Where the time of `logging` with `extra=` goes (Python 3.11, 5.8 us): 3.9 us are the standard library's before any handler is asked (`makeRecord` 2.2, `findCaller` 0.3), so no
handler is below 0.5 of structlog here; 1.5 us make the line, 0.4 us hand it over. What was tried:

- The set difference of a record's attributes and the standard ones: 0.4 us; an `itemgetter` of the names that the place gave before: 0.09 us.
- One JSON encoding of all extras in C: 0.82 to 0.93 us and a dictionary to be made for it; slower than a loop over kinds (0.87 us). A format string and a list of converters: 0.74 us.
  One expression for all values of a shape (`_shapes.py`): 0.4 us.
- Functions by the kinds of all values, found by a tuple of kinds: 0.18 us to find it, more than to ask each value.
- Without the ids and names of threads and processes (`logging.logThreads`, `logProcesses`, `logMultiprocessing`) `makeRecord` takes 0.8 us less, but other handlers of the program would miss them.
- Below the level there is nothing to gain: 230 ns against 228 ns of a method with the same parameters that does nothing.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

import structlog
from pythonjsonlogger.json import JsonFormatter

from cordwood_logger import CordwoodHandler, Logging, StructlogProcessor, context

RECORDS = int(os.environ.get("RECORDS", "20000"))
ROUNDS = int(os.environ.get("ROUNDS", "9"))
SINK = open("/dev/null", "w", buffering=1)  # noqa: SIM115
FIELDS = {"orderId": 17, "amount": 12.5, "currency": "EUR", "paid": True, "path": "/api/orders/17"}
NESTED = {"user": {"id": "u-1", "roles": ["admin", "buyer"]}, "items": [{"sku": "a-1", "n": 2}, {"sku": "b-2", "n": 1}]}
BOUND = {"requestId": "r-1", "tenantId": "t-1", "userId": "u-1"}


class Null:
    piece_bytes = 1 << 20

    def write(self, piece: bytes) -> int:
        return os.write(SINK.fileno(), piece)


shared = Logging(env={}, output=Null(), format="json")
ours = shared.create_logger("shop")

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.WriteLoggerFactory(file=SINK),
    cache_logger_on_first_use=True,
)
theirs = structlog.get_logger().bind(service="shop", logger="shop")


def stdlib(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return logger


stream = logging.StreamHandler(SINK)
stream.setFormatter(
    JsonFormatter(
        ["asctime", "levelname", "message", "name", "pathname", "lineno", "funcName"],
        rename_fields={"asctime": "timestamp", "levelname": "level", "name": "logger", "pathname": "file", "lineno": "line", "funcName": "function"},
        static_fields={"service": "shop"},
    )
)
by_json = stdlib("bench.json", stream)
by_ours = stdlib("bench.ours", CordwoodHandler("shop", shared=shared))


def caught() -> BaseException:
    try:
        raise ValueError("card refused") from OSError("connection reset")
    except ValueError as error:
        return error


ERROR = caught()


def measure(*works: Callable[[], object]) -> list[float]:
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for at, work in enumerate(works):
            begin = time.process_time_ns()
            for _ in range(RECORDS):
                work()
            times[at].append((time.process_time_ns() - begin) / RECORDS)
    return [min(one) for one in times]


def row(name: str, against: str, times: list[float]) -> None:
    print(f"{name:<34} {times[0]:8.0f} {against:>20} {times[1]:8.0f} {times[0] / times[1]:7.2f} {times[0] / 10_000:8.2f}%")


print(f"{'':<34} {'ours ns':>8} {'beside':>20} {'ns':>8} {'ratio':>7} {'at 1k/s':>9}   (Python {sys.version.split()[0]})")
row("message", "structlog", measure(lambda: ours.info("order paid"), lambda: theirs.info("order paid")))
row("five fields", "structlog", measure(lambda: ours.info("order paid", **FIELDS), lambda: theirs.info("order paid", **FIELDS)))
row("nested fields", "structlog", measure(lambda: ours.info("order paid", **NESTED), lambda: theirs.info("order paid", **NESTED)))
our_child, their_child = ours.child(**BOUND), theirs.bind(**BOUND)
row("child, five fields", "structlog", measure(lambda: our_child.info("order paid", **FIELDS), lambda: their_child.info("order paid", **FIELDS)))
with context(BOUND), structlog.contextvars.bound_contextvars(**BOUND):
    row("context, five fields", "structlog", measure(lambda: ours.info("order paid", **FIELDS), lambda: theirs.info("order paid", **FIELDS)))
row("error", "structlog", measure(lambda: ours.error("failed", exc_info=ERROR), lambda: theirs.error("failed", exc_info=ERROR)))
row("below the level", "structlog", measure(lambda: ours.debug("order paid", **FIELDS), lambda: theirs.debug("order paid", **FIELDS)))
row("logging: message", "python-json-logger", measure(lambda: by_ours.info("order paid"), lambda: by_json.info("order paid")))
row("logging: five fields", "python-json-logger", measure(lambda: by_ours.info("order paid", extra=FIELDS), lambda: by_json.info("order paid", extra=FIELDS)))
row("logging: five fields", "structlog", measure(lambda: by_ours.info("order paid", extra=FIELDS), lambda: theirs.info("order paid", **FIELDS)))
configured = structlog.wrap_logger(None, processors=[StructlogProcessor("shop", shared=shared)], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
processed = configured.bind()
row("structlog with our processor", "structlog", measure(lambda: processed.info("order paid", **FIELDS), lambda: theirs.info("order paid", **FIELDS)))
