"""What reaches standard output, whatever happens to the program or to who reads: what was promised is there, nothing is torn, and what is missing
is counted."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import unittest
from collections import Counter
from typing import Any

from cordwood_logger import Logging, MemoryOutput
from cordwood_logger._delivery import Delivery, Limits
from parts import Program, in_file, records, rest

STAY = "\nwhile True: time.sleep(1)\n"

FLOOD = """
for i in range(40_000):
    word, level = ("e", log.error) if i % 1000 == 999 else ("d", log.debug) if i % 4 == 0 else ("w", log.warning) if i % 4 == 1 else ("i", log.info)
    level(word, n=i, text="x" * 100)
c.audit_log(log, "kept", action="flood")
say("written")
while not c.flush(): time.sleep(0.005)
say(f"dropped {c.stats()['dropped']}.")
"""

ENDINGS = {
    "the end": ("log.info('a')", 0, ["a"]),
    "sys.exit": ("log.info('a'); sys.exit(3)", 3, ["a"]),
    "an object that is deleted later": ("class Last:\n    def __del__(self, log=log): log.info('b')\nlast = Last()\nlog.info('a')", 0, ["a", "b"]),
    "a cancelled coroutine": (
        "import asyncio\nasync def work():\n    try: await asyncio.sleep(60)\n    finally: log.info('b')\n"
        "async def main():\n    task = asyncio.create_task(work()); await asyncio.sleep(0); log.info('a'); task.cancel()\nasyncio.run(main())",
        0,
        ["a", "b"],
    ),
    "an exception": ("log.info('a')\nraise ValueError('broken') from OSError('below')", 1, ["a", "uncaught exception"]),
    "an exception of a thread": (
        "import threading\nlog.info('a')\ndef work(): raise ValueError('broken')\nt = threading.Thread(target=work); t.start(); t.join()",
        0,
        ["a", "uncaught exception in a thread"],
    ),
    "SIGTERM": ("log.info('a'); os.kill(os.getpid(), signal.SIGTERM)" + STAY, -signal.SIGTERM, ["a"]),
    "SIGINT": ("log.info('a'); os.kill(os.getpid(), signal.SIGINT)" + STAY, -signal.SIGINT, ["a"]),
    "a signal that the application handles": (
        "signal.signal(signal.SIGTERM, lambda *_: (log.info('b'), sys.exit(7)))\nlog.info('a'); os.kill(os.getpid(), signal.SIGTERM)" + STAY,
        7,
        ["a", "b"],
    ),
}


def messages(all_records: list[dict[str, Any]]) -> list[str]:
    return [one["message"] for one in all_records]


class Deliveries(unittest.TestCase):
    def test_the_buffer_is_what_the_environment_says(self) -> None:
        """How many records leave together, when nothing hurries them: what is set goes before what the program says."""
        rows: list[tuple[dict[str, str], Limits | None, int]] = [
            ({"CORDWOOD_BUFFER_MS": "60000"}, None, 50),
            ({"CORDWOOD_BUFFER_RECORDS": "7"}, None, 7),
            ({"CORDWOOD_BUFFER_RECORDS": "7"}, Limits(records=3), 7),
            ({"CORDWOOD_BUFFER_RECORDS": "0"}, Limits(records=3), 3),
            ({"CORDWOOD_BUFFER_MS": "0", "CORDWOOD_BUFFER_RECORDS": "7"}, None, 1),
        ]
        for env, limits, expected in rows:
            with self.subTest(env=env, limits=limits):
                output = MemoryOutput()
                log = Logging(env=env, output=output, limits=limits, format="json").create_logger("shop")
                for count in range(expected):
                    self.assertEqual(output.text, "", f"after {count} records")
                    log.info("record")
                self.assertEqual(output.text.count("\n"), expected)

    def test_fifty_are_written_together_and_kill_takes_what_waits(self) -> None:
        with in_file("for i in range(120): log.info('r')\nsay('ready')" + STAY) as (program, read):
            program.heard("ready")
            self.assertEqual(len(read()), 100)
            program.child.kill()
            program.child.wait()
            self.assertEqual(len(read()), 100)

    def test_an_error_takes_along_what_waits(self) -> None:
        with in_file("log.info('a'); log.error('b'); log.info('c'); say('ready')" + STAY) as (program, read):
            program.heard("ready")
            program.child.kill()
            program.child.wait()
            self.assertEqual(messages(read()), ["a", "b"])

    def test_what_waits_is_written_after_a_while(self) -> None:
        self.assertEqual(Limits().wait_s, 5.0)
        text = """
slept = []
import cordwood_logger._delivery as d
real = time.sleep
class Clock:
    monotonic = staticmethod(time.monotonic)
    @staticmethod
    def sleep(s):
        slept.append(s); real(0.01)
d.time = Clock
log.info('a')
while not c.stats()['written']: real(0.01)
say(f'slept {slept[0]}.')
"""
        with in_file(text + STAY) as (program, read):
            program.heard("slept 5.0.")
            self.assertEqual(messages(read()), ["a"])

    def test_what_waits_is_written_at_every_end(self) -> None:
        for name, (text, code, wanted) in ENDINGS.items():
            with self.subTest(name), in_file(text) as (program, read):
                self.assertEqual(program.end(), code, program.said)
                got = read()
                self.assertEqual(messages(got), wanted)
                if "exception" in name:
                    self.assertEqual((got[1]["level"], got[1]["errorType"], got[1]["error"]), ("ERROR", "ValueError", "broken"))
                    self.assertIn("Traceback", got[1]["errorStack"])

    def flooded(self, program: Program, read: Any) -> None:
        # Nobody reads until all of it has been logged: had a call waited for a reader, this word would not come.
        program.heard("written")
        got = records(read())
        self.assertEqual(program.end(), 0)
        missing: Counter[str] = Counter()
        own = [one for one in got if one["logger"] == "shop"]
        for one in got:
            if one["logger"] == "cordwood.logger":
                self.assertEqual(one["level"], "WARN")
                self.assertRegex(one["message"], r"^\d+ records dropped: the output stalled$")
                missing.update(one["dropped"])
        self.assertGreater(sum(missing.values()), 0, "nothing was dropped: the flood was too small")
        self.assertEqual(len(own) + sum(missing.values()), 40_001, "what is missing is what was counted")
        self.assertIn(f"dropped {sum(missing.values())}.", program.said)
        numbers = [one["n"] for one in own if "n" in one]
        self.assertEqual(numbers, sorted(numbers), "in their order")
        self.assertEqual(sum(one["level"] == "ERROR" for one in own), 40, "no ERROR is dropped while others can be")
        self.assertEqual(set(missing) - {"DEBUG", "INFO"}, set())
        self.assertGreater(missing["DEBUG"], 0)
        self.assertTrue(any(one.get("is_audit") for one in own))

    def test_a_full_pipe(self) -> None:
        reads, writes = os.pipe()
        program = Program(FLOOD, writes, CORDWOOD_LEVEL="debug")
        os.close(writes)
        self.flooded(program, lambda: rest(reads))

    def test_a_full_socket(self) -> None:
        ours, theirs = socket.socketpair()
        program = Program(FLOOD, theirs, CORDWOOD_LEVEL="debug")
        theirs.close()
        self.flooded(program, lambda: rest(ours.detach()))

    def test_kill_at_a_full_pipe_tears_no_line(self) -> None:
        reads, writes = os.pipe()
        program = Program("for i in range(5000): log.error('e', n=i, text='x' * (i % 700))\nsay('written')" + STAY, writes)
        os.close(writes)
        program.heard("written")
        program.child.kill()
        got = [one["n"] for one in records(rest(reads))]
        self.assertGreater(len(got), 50)
        self.assertEqual(got, list(range(len(got))), "the first of them, without a hole")
        program.end()

    def test_a_pipe_that_stays_full_does_not_hold_the_end(self) -> None:
        reads, writes = os.pipe()
        program = Program("for i in range(5000): log.error('e', text='x' * 100)", writes)
        os.close(writes)
        self.assertEqual(program.end(), 0)
        found = re.search(r"(\d+) records were not written", program.said)
        self.assertIsNotNone(found)
        self.assertEqual(len(records(rest(reads))) + int(found[1] if found else 0), 5000)

    def test_what_was_dropped_and_cannot_be_told_is_counted_at_the_end(self) -> None:
        reads, writes = os.pipe()
        program = Program("for i in range(30_000): log.info('e', text='x' * 100)\nsay(f\"dropped {c.stats()['dropped']}.\")", writes)
        os.close(writes)
        self.assertEqual(program.end(), 0)
        self.assertNotIn("dropped 0.", program.said)
        found = re.search(r"(\d+) records were not written", program.said)
        self.assertEqual(len(records(rest(reads))) + int(found[1] if found else 0), 30_000)

    def test_nobody_reads_any_more(self) -> None:
        reads, writes = os.pipe()
        text = """
def more(*_):
    for _ in range(100): log.info('b')
    c.flush(); say(f"went on {c.stats()}"); sys.exit(0)
signal.signal(signal.SIGUSR2, more)
log.error('a'); say('first')
"""
        program = Program(text + STAY, writes)
        os.close(writes)
        program.heard("first")
        os.close(reads)
        program.child.send_signal(signal.SIGUSR2)
        self.assertEqual(program.end(), 0, program.said)
        self.assertIn("went on {'written': 1, 'waiting': 0, 'dropped': 100}", program.said)

    def test_no_standard_output_at_all(self) -> None:
        text = """
os.close(1)
mine = c.Logging(format='json')
other = os.open('/dev/null', os.O_RDWR)
for _ in range(60): mine.create_logger('shop').info('a')
mine.flush()
say(f'{other} {mine.delivery.lost} went on')
"""
        program = Program(text, subprocess.DEVNULL)
        self.assertEqual(program.end(), 0, program.said)
        self.assertIn("1 60 went on", program.said)

    def test_the_child_of_a_fork_writes_its_own_and_only_its_own(self) -> None:
        text = """
log.info('parent before')
pid = os.fork()
if pid == 0:
    log.info('child'); sys.exit(0)
os.waitpid(pid, 0)
log.info('parent after')
"""
        with in_file(text) as (program, read):
            self.assertEqual(program.end(), 0, program.said)
            self.assertEqual(messages(read()), ["child", "parent before", "parent after"])

    def test_processes_of_multiprocessing(self) -> None:
        text = """
import multiprocessing as m
from concurrent.futures import ProcessPoolExecutor
def work(n): c.create_logger('shop').info('child', n=n)
fork = m.get_context('fork')
p = fork.Process(target=work, args=(1,)); p.start(); p.join()
with ProcessPoolExecutor(2, mp_context=fork) as pool: list(pool.map(work, [2, 3]))
log.info('parent')
"""
        with in_file(text) as (program, read):
            self.assertEqual(program.end(), 0, program.said)
            self.assertEqual(sorted(one.get("n", 0) for one in read()), [0, 1, 2, 3])

    def test_a_fork_while_others_log(self) -> None:
        text = """
import threading
stop = False
def work():
    while not stop: log.error('thread')
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        log.info('child'); c.flush(); os._exit(0)
    os.waitpid(pid, 0)
stop = True
for t in threads: t.join()
"""
        with in_file(text) as (program, read):
            self.assertEqual(program.end(), 0, program.said)
            self.assertEqual(messages(read()).count("child"), 10)

    def test_threads_lose_nothing(self) -> None:
        text = """
import threading
def work(t):
    for i in range(3000): log.info('m', t=t, n=i)
threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
        with in_file(text) as (program, read):
            self.assertEqual(program.end(), 0, program.said)
            got = read()
            self.assertEqual(len({(one["t"], one["n"]) for one in got}), 24_000)
            self.assertEqual(len(got), 24_000)

    def test_a_record_while_one_is_written(self) -> None:
        # As from a signal handler or `__del__`: in the midst of a write.
        class Reentrant:
            piece_bytes = 1 << 20
            text = ""
            inside = 0

            def write(self, piece: bytes) -> int:
                if self.inside < 3:
                    self.inside += 1
                    delivery.push(40, b'{"inner":1}\n')
                self.text += piece.decode()
                return len(piece)

        output = Reentrant()
        delivery = Delivery(output, lambda dropped, count: b"")
        delivery.push(40, b'{"outer":1}\n')
        self.assertEqual(len(records(output.text)), 4)

    def test_any_sequence_of_full_and_free(self) -> None:
        for seed in range(200):
            chance = random.Random(seed)

            class Partly:
                piece_bytes = 100
                text = ""
                free = 0

                def write(self, piece: bytes, chance: random.Random = chance) -> int:
                    taken = min(len(piece), self.free, chance.randrange(40) if chance.random() < 0.25 else 1 << 30)
                    self.free -= taken
                    self.text += piece[:taken].decode()
                    return taken

            output = Partly()
            told = lambda dropped, count: (json.dumps({"told": count}) + "\n").encode()  # noqa: E731
            delivery = Delivery(output, told, Limits(records=5, records_max=200, bytes_max=2000, end_s=0, wait_s=60))
            delivery._arm = lambda: None  # type: ignore[method-assign]
            for n in range(200):
                if chance.random() < 0.3:
                    output.free = chance.randrange(300)
                rank = chance.choice([5, 10, 20, 30, 40, 60])
                delivery.push(rank, (json.dumps({"n": n, "pad": "y" * chance.randrange(60)}) + "\n").encode())
            output.free = 1 << 30
            while not delivery.flush():
                pass
            got = records(output.text)
            numbers = [one["n"] for one in got if "n" in one]
            dropped = sum(one.get("told", 0) for one in got)
            self.assertEqual(len(numbers) + dropped, 200, f"seed {seed}")
            self.assertEqual((delivery.lost, delivery.written), (dropped, len(numbers)), f"seed {seed}")
            self.assertEqual(numbers, sorted(numbers), f"seed {seed}")

    def test_what_waits_is_bounded_in_bytes_too(self) -> None:
        class Full:
            piece_bytes = 4096

            def write(self, piece: bytes) -> int:
                return 0

        for size, most in ((100, 20_064 * 100), (10_000, (8 << 20) + 64 * 10_000), (1 << 20, 9 << 20)):
            delivery = Delivery(Full(), lambda dropped, count: b"", Limits(end_s=0))
            for _ in range(min(25_000, (32 << 20) // size)):
                delivery.push(20, b"x" * size)
                self.assertLessEqual(len(delivery._lines) * size, most)
            self.assertGreater(delivery.lost, 0)

    def test_nobody_waits_for_a_thread_that_writes(self) -> None:
        entered, leave = threading.Event(), threading.Event()

        class Slow:
            piece_bytes = 1 << 20
            count = 0

            def write(self, piece: bytes) -> int:
                self.count += piece.count(b"\n")
                entered.set()
                leave.wait()
                return len(piece)

        output = Slow()
        delivery = Delivery(output, lambda dropped, count: b"")
        writer = threading.Thread(target=delivery.push, args=(40, b"{}\n"))
        writer.start()
        entered.wait()
        delivery.push(40, b"{}\n")  # returns, though the other one still writes
        leave.set()
        writer.join()
        self.assertEqual(output.count, 2, "who wrote looked again")


if __name__ == "__main__":
    unittest.main()
