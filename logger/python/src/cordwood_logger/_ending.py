"""The end of a process: what waits is written, after an uncaught exception of a thread or of the program with a record of it, and before a
SIGTERM or SIGHUP that nobody else handles takes effect."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from typing import Any

from ._delivery import finalize
from ._errors import error_of
from ._levels import ERROR
from ._logging import Logging, complain


def watch(shared: Logging) -> None:
    """Watches over the end of this process."""
    own = os.getpid()

    def end() -> None:
        missing = shared.delivery.end()
        if missing:
            complain(f"{missing} records were not written: the output is closed or stalled")

    atexit.register(end)
    finalize(shared.delivery)
    before = sys.excepthook

    def excepthook(kind: Any, error: Any, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            shared.first._write(ERROR, "uncaught exception", (), {"exc_info": error})
        before(kind, error, trace)

    sys.excepthook = excepthook
    thread_before = threading.excepthook

    def thread_excepthook(args: Any) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread else None
            shared.first._write(ERROR, "uncaught exception in a thread", (), {"exc_info": args.exc_value, "thread": name})
        thread_before(args)

    threading.excepthook = thread_excepthook

    def handle(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        # A child of a fork has its own records to write, and the same handler.
        end() if os.getpid() == own else shared.delivery.end()
        os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, handle)


def watch_loop(shared: Logging, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """What an event loop says of exceptions that nobody awaited becomes a record; then it does with them what it did before."""
    loop = loop or asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(of: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        error = error_of(what.get("exception"))
        more: dict[str, Any] = {key: repr(what[key]) for key in ("task", "future", "handle") if key in what}
        shared.first._write(ERROR, str(what.get("message") or "exception in the event loop"), (), {**more, "exc_info": error})
        if before is not None:
            before(of, what)

    loop.set_exception_handler(handle)
