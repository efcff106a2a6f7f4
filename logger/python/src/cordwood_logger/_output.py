"""Where lines go. Standard output is opened so that writing never waits: a pipe or terminal by its own description (other processes that share
it keep theirs), a socket by asking so with each write."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
from typing import Protocol

#: POSIX lets a pipe take this much at once or not at all.
PIPE_BYTES = 4096 if sys.platform.startswith("linux") else 512
FILE_BYTES = 1 << 20


class Output(Protocol):
    #: Pieces of whole lines are made so large.
    piece_bytes: int

    def write(self, piece: bytes) -> int:
        """How many bytes were taken; 0 when none are taken now; less than 0 when never again."""


class FileOutput:
    """A file descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.piece_bytes = PIPE_BYTES
        self._socket: socket.socket | None = None
        self._polled: select.poll | None = None
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            # Whatever gets this number later is not ours.
            self.fd = -1
            return
        if stat.S_ISREG(mode):
            self.piece_bytes = FILE_BYTES
        elif stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(fd))
        else:
            try:
                self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                # No /proc, or a pipe of another user's: asked before each write whether it takes anything.
                self._polled = select.poll()
                self._polled.register(fd, select.POLLOUT)

    def write(self, piece: bytes) -> int:
        taken = 0
        try:
            while taken < len(piece):
                if self._polled is not None and not self._polled.poll(0):
                    return taken
                rest = memoryview(piece)[taken:]
                if self._socket is not None:
                    taken += self._socket.send(rest, socket.MSG_DONTWAIT)
                else:
                    taken += os.write(self.fd, rest)
        except (BlockingIOError, InterruptedError):
            return taken
        except OSError as error:
            # A disk without room may have some later; a pipe that nobody reads stays so.
            return taken if error.errno in _FULL else -1
        return taken

    def close(self) -> None:
        """Closes what this one opened."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd > 2:
            os.close(self.fd)


_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.ENOBUFS))


class MemoryOutput:
    """Lines into memory, for the tests of applications and of this package."""

    piece_bytes = FILE_BYTES

    def __init__(self) -> None:
        self.text = ""

    def write(self, piece: bytes) -> int:
        self.text += piece.decode()
        return len(piece)
