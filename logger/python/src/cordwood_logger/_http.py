"""HTTP: a request's context for ASGI and WSGI, and the level handler `GET/PUT /cordwood/level`, which exists only where an application mounts it."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from ._context import bind_context, context
from ._headers import request_fields
from ._levels import LevelError, Levels

LEVEL_PATH = "/cordwood/level"
BODY_BYTES_MAX = 65_536
Answer = tuple[int, str, list[tuple[str, str]], bytes]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def answer(levels: Levels, method: str, body: bytes | None) -> Answer:
    """What the level handler answers. `body` is None where there were more bytes than BODY_BYTES_MAX."""
    if method == "GET":
        return _said(levels.state())
    if method != "PUT":
        return _problem(405, "Method Not Allowed", "GET and PUT are answered here", [("allow", "GET, PUT")])
    if body is None:
        return _problem(413, "Content Too Large", f"at most {BODY_BYTES_MAX} bytes")
    try:
        return _said(levels.change(json.loads(body)))
    except (ValueError, RecursionError) as error:
        # LevelError, no JSON, no UTF-8.
        return _problem(400, "Bad Request", str(error))


def _said(what: dict[str, Any]) -> Answer:
    return 200, "OK", [("content-type", "application/json")], json.dumps(what).encode()


def _problem(status: int, title: str, detail: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return status, title, [("content-type", "application/problem+json"), *headers], json.dumps(body).encode()


def _not_found() -> Answer:
    return _problem(404, "Not Found", f"only {LEVEL_PATH} is answered here")


class LevelWSGI:
    """The level handler as a WSGI application; around another one it answers its own path only."""

    def __init__(self, levels: Levels, app: Any = None) -> None:
        self._levels = levels
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Mounted below a path, the rest of the path is empty.
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if path != LEVEL_PATH:
            if self._app is not None:
                return self._app(environ, start_response)  # type: ignore[no-any-return]
            said = _not_found()
        else:
            said = answer(self._levels, environ["REQUEST_METHOD"], self._body(environ))
        status, reason, headers, body = said
        start_response(f"{status} {reason}", [*headers, ("content-length", str(len(body)))])
        return [body]

    def _body(self, environ: dict[str, Any]) -> bytes | None:
        if environ["REQUEST_METHOD"] != "PUT":
            return b""
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        return None if length > BODY_BYTES_MAX else environ["wsgi.input"].read(length)


class LevelASGI:
    """The level handler as an ASGI application; around another one it answers its own path only."""

    def __init__(self, levels: Levels, app: Any = None) -> None:
        self._levels = levels
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root, path = scope.get("root_path", ""), scope.get("path", "")
        is_ours = scope["type"] == "http" and (path == LEVEL_PATH or path in ("", "/") and root == LEVEL_PATH)
        if not is_ours and self._app is not None:
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        said = answer(self._levels, scope["method"], await self._body(scope["method"], receive)) if is_ours else _not_found()
        status, _, headers, body = said
        pairs = [(name.encode(), text.encode()) for name, text in (*headers, ("content-length", str(len(body))))]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, method: str, receive: Receive) -> bytes | None:
        parts, size = [], 0
        while method == "PUT":
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size <= BODY_BYTES_MAX:
                parts.append(part)
            if not message.get("more_body"):
                break
        return b"".join(parts) if size <= BODY_BYTES_MAX else None


class ContextASGI:
    """ASGI middleware: what is logged while a request is served has its tenant, user, request and trace."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        with context(request_fields(scope.get("headers"))):
            await self._app(scope, receive, send)


class ContextWSGI:
    """WSGI middleware: the same, also while the answer's body is made."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = {name: text for name, text in environ.items() if name.startswith("HTTP_")}
        around = contextvars.copy_context()
        around.run(bind_context, **request_fields(headers))
        return _Body(around, around.run(self._app, environ, start_response))


class _Body:
    """The parts of an answer, each made in the request's context."""

    def __init__(self, around: contextvars.Context, parts: Iterable[bytes]) -> None:
        self._around = around
        self._parts = parts
        self._at: Iterator[bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._at is None:
            self._at = self._around.run(iter, self._parts)
        return self._around.run(next, self._at)

    def close(self) -> None:
        if hasattr(self._parts, "close"):
            self._around.run(self._parts.close)


__all__ = ["LEVEL_PATH", "ContextASGI", "ContextWSGI", "LevelASGI", "LevelError", "LevelWSGI", "answer"]
