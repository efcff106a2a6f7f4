"""What the tests share: lines into memory, and programs with a pipe, a socket, a file or nothing behind their standard output."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cordwood_logger import Logging, MemoryOutput

TOP = Path(__file__).parents[1]


class Memory:
    """A logger into memory, and its records so far."""

    def __init__(self, env: dict[str, str] | None = None, **options: Any) -> None:
        self.output = MemoryOutput()
        self.shared = Logging(env=env or {}, output=self.output, format="json")
        self.log = self.shared.create_logger("shop", **options)

    def raw(self) -> str:
        self.shared.flush()
        return self.output.text

    def records(self) -> list[dict[str, Any]]:
        return records(self.raw())


def records(text: str) -> list[dict[str, Any]]:
    """Whole lines only, each of them a record."""
    lines = text.split("\n")
    assert lines.pop() == "", f"torn: {text[-200:]}"
    return [json.loads(line) for line in lines]


def minds_interrupts() -> None:
    """A shell starts what runs in the background so that it ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """Starts a program of this text; `log` is its logger, `say` a line on its standard error."""

    def __init__(self, text: str, stdout: Any, **env: str) -> None:
        source = (
            # Nobody waits for ever for a program that does not end.
            "import os, sys, time, signal\nsignal.alarm(120)\nimport cordwood_logger as c\nlog = c.create_logger('shop')\n"
            "def say(word):\n    os.write(2, (word + '\\n').encode())\n" + text
        )
        path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP / "src"), "CORDWOOD_FORMAT": "json", **env}
        self.child = subprocess.Popen(
            [sys.executable, "-c", source], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=path, preexec_fn=minds_interrupts
        )
        self.said = ""

    def heard(self, word: str) -> None:
        """Waits until it has said so."""
        assert self.child.stderr is not None
        while word not in self.said:
            part = os.read(self.child.stderr.fileno(), 65536).decode()
            assert part, f"ended before '{word}': {self.said}"
            self.said += part

    def end(self) -> int:
        assert self.child.stderr is not None
        if not self.child.stderr.closed:
            self.said += self.child.stderr.read().decode()
            self.child.stderr.close()
        return self.child.wait()


@contextlib.contextmanager
def in_file(text: str, **env: str) -> Iterator[tuple[Program, Any]]:
    """A program whose output is a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.log"
        with path.open("ab") as file:
            program = Program(text, file, **env)
        try:
            yield program, lambda: records(path.read_text())
        finally:
            program.child.kill()
            program.end()


def rest(fd: int) -> str:
    """Everything until nobody holds the other end."""
    parts = []
    while True:
        select.select([fd], [], [])
        part = os.read(fd, 1 << 16)
        if not part:
            os.close(fd)
            return b"".join(parts).decode()
        parts.append(part)
