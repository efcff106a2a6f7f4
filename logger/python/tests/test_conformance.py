"""The table that all loggers share (logger/conformance), run by this one: what an application calls, and which lines come out."""

from __future__ import annotations

import json
import re
import unittest
from pathlib import Path
from typing import Any

from cordwood_logger import Logging, MemoryOutput, TaskContext, audit_log, belief_scope, context
from cordwood_logger._http import answer

CASES = json.loads((Path(__file__).parents[2] / "conformance" / "cases.json").read_text())


def text(one: Any) -> Any:
    return one["$repeat"][0] * one["$repeat"][1] + one.get("$then", "") if isinstance(one, dict) and "$repeat" in one else one


def given(one: Any) -> Any:
    """A value of a call."""
    if isinstance(one, list):
        return [given(inner) for inner in one]
    if not isinstance(one, dict):
        return one
    if "$repeat" in one:
        return text(one)
    if "$number" in one:
        return float(one["$number"])
    if "$integer" in one:
        return int(one["$integer"])
    if "$absent" in one:
        return None
    return {key: given(inner) for key, inner in one.items()}


def error_of(one: dict[str, Any]) -> BaseException:
    """An exception whose class has this name, raised, so that it has a traceback."""
    try:
        error = type(one["type"], (Exception,), {})(one["message"])
        if "code" in one:
            error.code = one["code"]  # type: ignore[attr-defined]
        raise error from (error_of(one["cause"]) if "cause" in one else None)
    except Exception as raised:
        return raised


METHODS = {"TRACE": "trace", "DEBUG": "debug", "INFO": "info", "WARN": "warning", "ERROR": "error"}


def run(test: unittest.TestCase, shared: Logging, log: Any, calls: list[dict[str, Any]]) -> None:
    for call in calls:
        if "log" in call:
            more = {"exc_info": error_of(call["error"])} if "error" in call else {}
            getattr(log, METHODS[call["log"]])(text(call["message"]), **given(call.get("fields", {})), **more)
        elif "audit" in call:
            audit_log(log, text(call["audit"]), action=call["action"], metadata=given(call.get("metadata")))
        elif "bind" in call:
            run(test, shared, log.child(given(call["bind"])), call["calls"])
        elif "context" in call:
            with context(given(call["context"])):
                run(test, shared, log, call["calls"])
        elif "logger" in call:
            run(test, shared, log.named(call["logger"]), call["calls"])
        elif "request" in call:
            run(test, shared, shared.create_request_logger(given(call["request"]), log), call["calls"])
        elif "task" in call:
            run(test, shared, TaskContext(log, call["task"], source=call.get("source")).logger, call["calls"])
        elif "scope" in call:
            try:
                with belief_scope(call["scope"], log):
                    run(test, shared, log, call["calls"])
                    if "fails" in call:
                        raise RuntimeError(call["fails"])
                test.assertNotIn("fails", call)
            except RuntimeError as error:
                test.assertEqual(str(error), call.get("fails"))
        elif "put" in call:
            status, _, _, body = answer(shared.levels, "PUT", json.dumps(call["put"]).encode())
            test.assertEqual(status, call.get("status", 200), body)
        elif "source" in call:
            run(test, shared, log.with_source(call["source"]), call["calls"])
        else:
            test.fail(f"unknown call {call}")


def told(got: Any, wanted: Any) -> Any:
    """What came out, in the table's words where it is what they stand for."""
    fits = False
    if wanted == "<time>":
        fits = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z", got) is not None
    elif wanted in ("<file>", "<function>"):
        fits = isinstance(got, str) and got != ""
    elif wanted == "<line>":
        fits = isinstance(got, int) and got > 0
    elif isinstance(wanted, dict) and "$stack" in wanted:
        at = 0
        for part in wanted["$stack"]:
            at = str(got).find(part, at) if at >= 0 else at
        fits = at >= 0
    elif isinstance(wanted, dict) and "$repeat" in wanted:
        fits = got == text(wanted)
    elif isinstance(wanted, dict) and "$integer" in wanted:
        fits = type(got) is int and str(got) == wanted["$integer"]
    return wanted if fits else got


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    assert len(out) == len(pairs), f"a key comes twice: {[key for key, _ in pairs]}"
    return out


class Conformance(unittest.TestCase):
    maxDiff = None

    def check(self, case: dict[str, Any]) -> None:
        output = MemoryOutput()
        env = case.get("env", {})
        shared = Logging(env=env, output=output, format=None if "CORDWOOD_ENV" in env else "json")
        log = shared.create_logger(case.get("service", "shop"), location=case.get("location") is True)
        run(self, shared, log, case["calls"])
        shared.flush()
        lines = output.text.split("\n")
        self.assertEqual(lines.pop(), "", "the last line has its end")
        got = []
        for at, raw in enumerate(lines):
            self.assertRegex(raw, r'^\{"timestamp":"[^"]*","level":"[A-Z]+","message":"')
            record = json.loads(raw, object_pairs_hook=once)
            if case.get("location") is not True:
                for key in ("file", "line", "function"):
                    record.pop(key, None)
            wanted = case["lines"][at] if at < len(case["lines"]) else {}
            got.append({key: told(one, wanted.get(key)) for key, one in record.items()})
        self.assertEqual(got, case["lines"])


for _case in CASES:
    _name = "test_" + re.sub(r"\W+", "_", _case["name"]).strip("_")
    setattr(Conformance, _name, lambda self, case=_case: self.check(case))

if __name__ == "__main__":
    unittest.main()
