"""Delivery: records wait in memory until there are 50, 5 s have passed, one is an ERROR, or the process ends.

Writing never waits for a reader: what does not fit stays, and beyond the bound the lowest level goes first. What went is counted and told by a
record of its own. Whole lines are written in pieces that a pipe takes in one go, so no line of that size is ever torn.

No call waits for another thread either: who finds somebody writing leaves its record to that one. So a record may be made anywhere: in a signal
handler, in `__del__`, in a coroutine.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ._levels import AUDIT, ERROR, level_name
from ._output import Output

_RETRY_S = 0.05
# A line of this size is no matter of counting lines: it goes at once, and is measured where it waits.
_LARGE_BYTES = 65_536


@dataclass(frozen=True)
class Limits:
    #: So many records are written together.
    records: int = 50
    #: A record waits no longer than this.
    wait_s: float = 5.0
    #: What may wait while the output stalls; beyond it records are dropped.
    bytes_max: int = 8 << 20
    records_max: int = 20_000
    #: How long the end of the process may wait for an output that stalls.
    end_s: float = 1.0


class Delivery:
    def __init__(self, output: Output, told: Callable[[dict[str, int], int], bytes], limits: Limits | None = None) -> None:
        """`told` makes the record that says what was dropped."""
        self.limits = limits or Limits()
        self.written = 0
        self.lost = 0
        self._output = output
        self._told = told
        self._full = self.limits.records
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        # Appended to without the lock, taken from with it: the list stays the same object.
        self._lines: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        # The rest of a piece that the output took in part; it is never dropped, because its beginning is written.
        self._rest = b""
        self._rest_lines = 0
        self._dropped: Counter[str] = Counter()
        self._stalled = False
        self._measured = 0
        self._closed = False
        self._asked = False
        self._armed = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def push(self, rank: int, line: bytes) -> None:
        """Takes a line with its newline. `rank` is its level, AUDIT for an audit event."""
        lines = self._lines
        lines.append((rank, line))
        if rank >= ERROR or len(lines) >= self._full or len(line) > _LARGE_BYTES:
            self._pushed(rank, len(line))
        elif not self._armed:
            self._arm()

    def _pushed(self, rank: int, size: int) -> None:
        if not self._stalled or rank >= ERROR or size > _LARGE_BYTES or len(self._lines) > self.limits.records_max or len(self._lines) % 64 == 0:
            self.flush()

    def _arm(self) -> None:
        self._armed = True
        if self._thread is None or not self._thread.is_alive():
            try:
                self._thread = threading.Thread(target=self._run, name="cordwood-logger", daemon=True)
                self._thread.start()
            except RuntimeError:  # the interpreter is ending: `end` writes what waits
                return
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(_RETRY_S if self._stalled else self.limits.wait_s)
            self._armed = False
            if not self.flush():
                self._armed = True
                self._wake.set()

    def flush(self) -> bool:
        """Writes what the output takes now. True when nothing waits any more."""
        done = False
        self._asked = True
        # Who could not have the lock has asked; who has it looks again after giving it back.
        while self._asked and self._lock.acquire(blocking=False):
            try:
                self._asked = False
                done = self._drain()
            finally:
                self._lock.release()
        return done

    def _drain(self) -> bool:
        done = not self._closed and self._write_rest() and self._write_lines() and self._tell()
        if self._closed:
            self._gone()
            return True
        self._stalled = not done
        if done:
            self._measured = 0
        else:
            self._shed()
            if not self._armed:
                self._arm()
        return done

    def _write(self, piece: bytes) -> int:
        taken = self._output.write(piece)
        if taken < 0:
            self._closed = True
            return 0
        return taken

    def _write_rest(self) -> bool:
        if not self._rest:
            return True
        self._rest = self._rest[self._write(self._rest) :]
        if self._rest:
            return False
        self.written += self._rest_lines
        return True

    def _write_lines(self) -> bool:
        lines = self._lines
        count = len(lines)
        at = 0
        while at < count and not self._rest:
            end, size = at + 1, len(lines[at][1])
            while end < count and size + len(lines[end][1]) <= self._output.piece_bytes:
                size += len(lines[end][1])
                end += 1
            piece = lines[at][1] if end == at + 1 else b"".join([line for _, line in lines[at:end]])
            taken = self._write(piece)
            if taken == 0:
                break
            if taken < len(piece):
                self._rest, self._rest_lines = piece[taken:], end - at
            else:
                self.written += end - at
            at = end
        del lines[:at]
        return at == count and not self._rest

    def _tell(self) -> bool:
        if not self._dropped:
            return True
        piece = self._told(dict(self._dropped), sum(self._dropped.values()))
        taken = self._write(piece)
        if taken == 0:
            return False
        self._dropped.clear()
        self._rest, self._rest_lines = piece[taken:], 0
        return not self._rest

    def _shed(self) -> None:
        """Makes room: lowest level first, of one level the oldest first, down to seven eighths of the bound."""
        lines = self._lines
        count = len(lines)
        # An output that stalls is asked at each ERROR: what waits is measured only when some more does.
        if count < self._measured + 64 and count >= self._measured and len(lines[-1][1] if lines else b"") <= _LARGE_BYTES:
            return
        self._measured = count
        waiting = lines[:count]
        size = sum([len(line) for _, line in waiting])
        if size <= self.limits.bytes_max and count <= self.limits.records_max:
            return
        size -= self.limits.bytes_max * 7 // 8
        records = count - self.limits.records_max * 7 // 8
        goes: set[int] = set()
        for rank in sorted({rank for rank, _ in waiting}):
            for at, (own, line) in enumerate(waiting):
                if size <= 0 and records <= 0:
                    break
                if own == rank:
                    goes.add(at)
                    size -= len(line)
                    records -= 1
        for at in goes:
            self._count(waiting[at][0])
        lines[:count] = [one for at, one in enumerate(waiting) if at not in goes]
        self._measured = 0

    def _count(self, rank: int) -> None:
        self._dropped["AUDIT" if rank >= AUDIT else level_name(rank)] += 1
        self.lost += 1

    def _gone(self) -> None:
        """Nobody reads any more: everything is dropped and counted."""
        count = len(self._lines)
        for rank, _ in self._lines[:count]:
            self._count(rank)
        del self._lines[:count]
        self.lost += self._rest_lines if self._rest else 0
        self._rest, self._rest_lines = b"", 0

    def end(self) -> int:
        """The end of the process: waits for a stalled output, but no longer than `end_s`. How many records could not be written, those among them
        that were dropped and could not be told. What comes afterwards, of other handlers of the end, is written at once."""
        self._full = 1
        until = time.monotonic() + self.limits.end_s
        while not self.flush() and time.monotonic() < until:
            time.sleep(0.005)
        return self.waiting + sum(self._dropped.values())

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return len(self._lines) + (self._rest_lines if self._rest else 0)


# The child of a fork begins with nothing: what waits is its parent's, who writes it.
_all: weakref.WeakSet[Delivery] = weakref.WeakSet()


def _forked() -> None:
    for each in list(_all):
        each._reset()
        each.written = each.lost = 0
    # A process of `multiprocessing` ends without `atexit`; what it has instead is told to it when it begins.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        for each in list(_all):
            util.register_after_fork(each, finalize)


def finalize(delivery: Delivery) -> None:
    """Ends this delivery at the end of a process of `multiprocessing`, where there is one."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, delivery.end, exitpriority=0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
