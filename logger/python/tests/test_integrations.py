"""`logging`, warnings, structlog, asyncio, ASGI, WSGI, tasks; levels of a running program over HTTP, at once and back when their time is over."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import time
import unittest
import urllib.request
import warnings
from typing import Any

from cordwood_logger import ContextASGI, ContextWSGI, CordwoodFormatter, LevelASGI, LevelWSGI, StructlogProcessor, TaskContext, audit_log, bind_context, context, install, run_task
from cordwood_logger._ending import watch_loop
from parts import Memory, in_file
from test_values import BadError

HEADERS = {"x-tenant-id": "t-1", "x-request-id": "r-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
WANTED = {"tenantId": "t-1", "requestId": "r-1", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7"}


def own(record: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in record.items() if key in WANTED}


class Standard(unittest.TestCase):
    def setUp(self) -> None:
        self.memory = Memory()
        self.root = logging.getLogger("tested")
        self.root.propagate = False
        self.addCleanup(logging.captureWarnings, False)

    def install(self) -> logging.Handler:
        return install("shop", shared=self.memory.shared, root=self.root)

    def test_records(self) -> None:
        self.install()
        with context(requestId="r-1"):
            self.root.getChild("db").info("paid %s", "EUR", extra={"orderId": 17, "user_id": 5, "level": "mine"})
        try:
            raise ValueError("bad") from KeyError("below")
        except ValueError:
            self.root.exception("failed", stack_info=True)
        self.root.warning({"not": "text"})
        first, second, third = self.memory.records()
        self.assertEqual(
            {key: first[key] for key in ("level", "message", "service", "logger", "orderId", "userId", "field_level", "requestId", "file", "function")},
            {
                "level": "INFO", "message": "paid EUR", "service": "shop", "logger": "tested.db", "orderId": 17, "userId": "5",
                "field_level": "mine", "requestId": "r-1", "file": __file__, "function": "test_records",
            },  # fmt: skip
        )
        self.assertEqual((second["error"], second["errorType"], second["errorChain"]), ("bad", "ValueError", ["'below'"]))
        self.assertIn("stackInfo", second)
        self.assertEqual((third["level"], third["message"]), ("WARN", "{'not': 'text'}"))

    def test_a_field_that_is_called_line(self) -> None:
        self.install()
        self.root.info("m", extra={"line": 5, "request_id": 7, "requestId": "x"})
        self.root.info("m", extra={"file": "f"})
        with context(line=9):
            self.root.info("m")
        first, second, third = self.memory.records()
        self.assertEqual((first["line"], first["requestId"]), (5, "x"))
        self.assertEqual((second["file"], second["line"] > 5), ("f", True))
        self.assertGreater(third["line"], 9)

    def test_what_cannot_be_formatted_stops_nobody(self) -> None:
        handler = self.install()
        told: list[str] = []
        handler.handleError = lambda record: told.append(record.msg)  # type: ignore[method-assign]
        self.root.info("%d", "no number")
        self.root.info(BadError())
        self.root.info("after")
        self.assertEqual(told, ["%d"])
        self.assertEqual([one["message"] for one in self.memory.records()], ["[unprintable]", "after"])

    def test_audit(self) -> None:
        self.install()
        self.root.setLevel(logging.ERROR)
        audit_log(self.root.getChild("x"), "spawned", action="spawn", metadata={"id": "a"})
        (one,) = self.memory.records()
        self.assertEqual((one["level"], one["is_audit"], one["action"], one["metadata"], one["function"]), ("INFO", True, "spawn", {"id": "a"}, "test_audit"))

    def test_warnings(self) -> None:
        handler = self.install()
        of = logging.getLogger("py.warnings")
        of.addHandler(handler)
        self.addCleanup(of.removeHandler, handler)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            logging.captureWarnings(False)
        (one,) = self.memory.records()
        self.assertEqual((one["level"], one["logger"]), ("WARN", "py.warnings"))
        self.assertIn("DeprecationWarning: old", one["message"])

    def test_levels_follow(self) -> None:
        self.install()
        quiet = logging.getLogger("tested.quiet")
        quiet.setLevel(logging.ERROR)
        levels = self.memory.shared.levels
        levels.change({"level": "DEBUG", "targets": {"tested.quiet": "TRACE"}})
        self.assertEqual((self.root.level, quiet.level), (logging.DEBUG, 5))
        levels.change({"level": "OFF", "targets": {}})
        self.assertEqual(quiet.level, logging.ERROR)
        self.root.critical("no")
        self.assertEqual(self.memory.records(), [])

    def test_the_formatter_alone(self) -> None:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(CordwoodFormatter("shop", shared=self.memory.shared, location=False))
        plain = logging.getLogger("tested.plain")
        plain.addHandler(handler)
        self.addCleanup(plain.removeHandler, handler)
        plain.warning("m")
        record = json.loads(out.getvalue())
        self.assertEqual((record["message"], "file" in record), ("m", False))


class Requests(unittest.TestCase):
    def test_kinds(self) -> None:
        memory = Memory()

        class Request:
            headers = HEADERS

        pairs = [(name.encode(), text.encode()) for name, text in HEADERS.items()]
        environ = {"HTTP_" + name.upper().replace("-", "_"): text for name, text in HEADERS.items()}
        kinds = [HEADERS, pairs, environ, Request(), list(HEADERS.items())]
        for kind in kinds:
            memory.shared.create_request_logger(kind, memory.log).info("m")
        for kind in (None, 5, [], {}, "text", object()):
            memory.shared.create_request_logger(kind, memory.log).info("none")
        self.assertEqual([own(one) for one in memory.records()], [WANTED] * len(kinds) + [{}] * 6)

    def test_asgi(self) -> None:
        memory = Memory()

        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            await asyncio.sleep(0)
            memory.log.info("m")

        async def both() -> None:
            scope = {"type": "http", "headers": [(name.encode(), text.encode()) for name, text in HEADERS.items()]}
            around = ContextASGI(app)
            await asyncio.gather(around(scope, None, None), around({"type": "http", "headers": []}, None, None), around({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
            memory.log.info("after")

        asyncio.run(both())
        got = [own(one) for one in memory.records()]
        self.assertEqual(sorted(map(len, got)), [0, 0, 0, 4])
        self.assertIn(WANTED, got)

    def test_wsgi(self) -> None:
        memory = Memory()
        closed = []

        class Parts:
            def __iter__(self) -> Any:
                memory.log.info("part")
                yield b"a"

            def close(self) -> None:
                memory.log.info("closed")
                closed.append(1)

        def app(_environ: Any, _start: Any) -> Any:
            memory.log.info("begun")
            return Parts()

        environ = {"HTTP_" + name.upper().replace("-", "_"): text for name, text in HEADERS.items()}
        parts = ContextWSGI(app)(environ, None)
        self.assertEqual(list(parts), [b"a"])
        parts.close()  # type: ignore[attr-defined]
        memory.log.info("after")
        got = memory.records()
        self.assertEqual([one["message"] for one in got], ["begun", "part", "closed", "after"])
        self.assertEqual([own(one) for one in got], [WANTED] * 3 + [{}])


MISTAKES = [
    ("PUT", b"{", 400), ("PUT", b"[]", 400), ("PUT", b"null", 400), ("PUT", b"\xff", 400), ("PUT", b'{"level":"LOUD"}', 400), ("PUT", b"[" * 60_000, 400),
    ("PUT", b'{"level":"INFO"' + b" " * 65_536 + b"}", 413), ("POST", b"{}", 405), ("DELETE", b"", 405),
]  # fmt: skip


class LevelHandlers(unittest.TestCase):
    def wsgi(self, handler: Any, path: str, method: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of an answer."""
        said: dict[str, Any] = {}

        def start(status: str, headers: Any) -> None:
            said.update(status=int(status.split()[0]), headers=dict(headers))

        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        parts = b"".join(handler(environ, start))
        return said["status"], said["headers"], json.loads(parts)

    def asgi(self, handler: Any, path: str, method: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        sent: list[Any] = []
        parts = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]

        async def receive() -> Any:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(handler({"type": "http", "method": method, "path": path}, receive, send))
        headers = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        return sent[0]["status"], headers, json.loads(sent[1]["body"])

    def test_answers(self) -> None:
        for ask, kind in ((self.wsgi, LevelWSGI), (self.asgi, LevelASGI)):
            levels = Memory().shared.levels
            handler = kind(levels)
            for method, body, wanted in MISTAKES:
                with self.subTest(kind=kind.__name__, method=method, body=body[:20]):
                    status, headers, said = ask(handler, "/cordwood/level", method, body)
                    self.assertEqual((status, headers["content-type"], said["status"]), (wanted, "application/problem+json", wanted))
                    if wanted == 405:
                        self.assertEqual(headers["allow"], "GET, PUT")
            self.assertEqual(ask(handler, "/other", "GET", b"")[0], 404)
            self.assertEqual(ask(handler, "/cordwood/level", "GET", b"")[2], {"level": "INFO", "targets": {}, "scopes": False})
            self.assertEqual(ask(handler, "/cordwood/level", "PUT", b'{"level": "warning", "ttlSeconds": 600}')[2]["ttlSeconds"], 600)
            self.assertEqual(levels.state()["level"], "WARN")

    def test_a_running_program(self) -> None:
        text = """
from wsgiref.simple_server import make_server, WSGIRequestHandler
class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass
def app(environ, start):
    db = log.named('db.pool'); log.debug('debug'); db.trace('trace')
    with c.belief_scope('work'): pass
    c.flush(); start('200 OK', []); return [b'']
server = make_server('127.0.0.1', 0, c.level_wsgi(app), handler_class=Quiet)
say(f'port {server.server_port}.')
server.serve_forever()
"""
        with in_file(text) as (program, read):
            program.heard(".")
            found = re.search(r"port (\d+)", program.said)
            address = f"http://127.0.0.1:{found[1] if found else 0}"

            def now() -> list[str]:
                urllib.request.urlopen(f"{address}/say").read()
                return [one["message"] for one in read()]

            def level(method: str, body: bytes | None = None) -> Any:
                return json.load(urllib.request.urlopen(urllib.request.Request(f"{address}/cordwood/level", body, method=method)))

            self.assertEqual(now(), [])
            change = {"level": "DEBUG", "targets": {"db": "TRACE"}, "scopes": True, "ttlSeconds": 2}
            self.assertEqual(level("PUT", json.dumps(change).encode()), change)
            self.assertEqual(now(), ["debug", "trace", "[work][Entry]", "[work][Coherence:OK]", "[work][Exit]"])
            while "ttlSeconds" in (state := level("GET")):
                time.sleep(0.02)
            self.assertEqual(state, {"level": "INFO", "targets": {}, "scopes": False})
            before = len(now())
            self.assertEqual(len(now()), before)

    def test_a_level_for_a_while_ends_in_a_fork_too(self) -> None:
        levels = Memory().shared.levels
        levels.change({"level": "DEBUG", "ttlSeconds": 1})
        levels.forked()
        while levels.is_passing:
            time.sleep(0.02)
        self.assertEqual(levels.state()["level"], "INFO")


class Others(unittest.TestCase):
    def test_structlog(self) -> None:
        try:
            import structlog
        except ImportError:
            self.skipTest("structlog is not installed")
        memory = Memory()
        processors = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), StructlogProcessor("shop", shared=memory.shared)]
        log = structlog.wrap_logger(None, processors=processors, wrapper_class=structlog.BoundLogger).bind(orderId=17)
        with context(requestId="r-1"):
            log.info("paid", logger="db")
        log.debug("no")
        try:
            raise ValueError("bad")
        except ValueError:
            log.exception("failed")
        first, second = memory.records()
        timestamp = first.pop("timestamp")
        self.assertRegex(timestamp, r"^\d{4}-")
        self.assertEqual(first, {"level": "INFO", "message": "paid", "service": "shop", "logger": "db", "orderId": 17, "requestId": "r-1"})
        self.assertEqual((second["level"], second["errorType"]), ("ERROR", "ValueError"))
        line = StructlogProcessor("shop", shared=memory.shared, render=True)(None, "warning", {"event": "m"})
        self.assertEqual(json.loads(line)["level"], "WARN")

    def test_an_event_loop(self) -> None:
        memory = Memory()

        async def main() -> None:
            watch_loop(memory.shared)
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        asyncio.run(main())
        (one,) = memory.records()
        self.assertEqual((one["level"], one["errorType"]), ("ERROR", "ZeroDivisionError"))

    def test_context_of_coroutines(self) -> None:
        memory = Memory()

        async def work(n: int) -> None:
            bind_context(n=n)
            for _ in range(3):
                await asyncio.sleep(0)
                memory.log.info("m", wanted=n)

        async def main() -> None:
            await asyncio.gather(*(work(n) for n in range(20)))

        asyncio.run(main())
        got = memory.records()
        self.assertEqual(len(got), 60)
        self.assertTrue(all(one["n"] == one["wanted"] for one in got))

    def test_tasks(self) -> None:
        memory = Memory()
        task = TaskContext(memory.log, 42, config={"a": 1})

        def old(params: Any) -> Any:
            memory.log.info("old")
            return params

        def new(params: Any, context: TaskContext) -> Any:
            context.logger.info("new", metadata={"progress": 50})
            memory.log.info("within")
            return context.config["a"]

        async def later(params: Any, context: Any = None) -> Any:
            await asyncio.sleep(0)
            context.logger.with_source("api").info("later")
            return params

        class Plugin:
            def execute(self, params: Any, context: Any = None) -> Any:
                context.logger.info("method")

        self.assertEqual(run_task(old, 5, task), 5)
        self.assertEqual(run_task(new, 5, task), 1)
        self.assertEqual(asyncio.run(run_task(later, 7, task)), 7)
        run_task(Plugin().execute, {}, task)
        memory.log.info("after")
        got = [(one["message"], one.get("taskId"), one.get("source")) for one in memory.records()]
        wanted = [("old", "42", "system"), ("new", "42", "plugin"), ("within", "42", "system"), ("later", "42", "api"), ("method", "42", "plugin"), ("after", None, None)]
        self.assertEqual(got, wanted)


if __name__ == "__main__":
    unittest.main()
