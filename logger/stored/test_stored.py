"""What each logger prints is stored by Cordwood and shown by its gateway with every field in its place: `cordwood standalone` reads a file of each.

$CORDWOOD_BIN_DIR holds `cordwood`; `examples/every_field` there is the program of the logger for Rust, when it is built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BIN = Path(os.environ["CORDWOOD_BIN_DIR"])
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent / "python" / "src"), "CORDWOOD_ENV": "production", "CORDWOOD_VERSION": "1.4.2",
    "CORDWOOD_LEVEL": "debug", "CORDWOOD_LOCATION": "1",
}  # fmt: skip
PROGRAMS = {
    "python": [sys.executable, HERE / "every_field.py"],
    "typescript": ["node", HERE / "every_field.mjs"],
    **({"rust": [BIN / "examples" / "every_field"]} if (BIN / "examples" / "every_field").exists() else {}),
}
#: In every record.
COMMON = {"service": "storefront", "environment": "production", "version": "1.4.2"}
#: By message: what must be shown.
WANTED: dict[str, dict[str, Any]] = {
    "slow answer": {
        "level": "WARN", "category": "system", "logger": "storefront", "source": "checkout", "action": "pay", "userId": "u-1", "sessionId": "s-1",
        "impersonatorId": "i-1", "requestId": "r-1", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7",
    },
    "payment failed": {"level": "ERROR", "category": "system", "logger": "db.pool", "errorType": "PaymentError", "errorCode": "card_declined"},
    "half done": {"level": "INFO", "category": "system", "logger": "storefront", "taskId": "42", "source": "plugin"},
    "Instance spawned": {"level": "INFO", "category": "audit", "logger": "audit.instance", "action": "instance_spawn", "metadata": {"instance_id": "abc123"}},
    'plugin said "hi"\n\u65e5\u672c': {"level": "INFO", "category": "system", "logger": "storefront", "plugin": "hello-plugin", "pid": 12345},
    "below": {"level": "DEBUG", "category": "system", "logger": "storefront"},
}  # fmt: skip
DATA: dict[str, dict[str, Any]] = {
    # Whose record it is says the cluster; what the line says of it is kept.
    "slow answer": {"tenantId": "t-1", "tenantSlug": "acme", "orderId": 17, "items": [{"sku": "a-1"}]},
    "payment failed": {"error": "card refused", "errorChain": ["connection reset"]},
    "half done": {"metadata": {"progress": 50}},
    "below": {"step": 1},
}


class Stored(unittest.TestCase):
    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        # PostgreSQL runs as a user of its own where the test runs as root.
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, files: list[Path]) -> str:
        """`cordwood standalone` on these files; the address on which it answers."""
        log = self.folder / "standalone.log"
        env = {**os.environ, "CORDWOOD_DATA_DIR": str(self.folder / "data")}
        env.pop("CORDWOOD_DATABASE_URL", None)
        with log.open("w") as stderr:
            arguments = [str(BIN / "cordwood"), "standalone", *map(str, files), "--listen", "127.0.0.1:0"]
            running = subprocess.Popen(arguments, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)

        def stop() -> None:
            running.terminate()
            running.wait()

        self.addCleanup(stop)
        while True:
            found = re.search(r"answering on (http://[^/\s]+)", log.read_text())
            if found:
                return found[1]
            self.assertIsNone(running.poll(), log.read_text())
            time.sleep(0.05)

    def ask(self, address: str, path: str) -> Any:
        return json.load(urllib.request.urlopen(address + path))

    def until(self, ask: Any, count: int) -> Any:
        """Asks until there are so many."""
        deadline = time.monotonic() + 120
        while len(shown := ask()) < count:
            self.assertLess(time.monotonic(), deadline, f"{len(shown)} of {count} are shown")
            time.sleep(0.1)
        return shown

    def test_every_field_is_where_it_belongs(self) -> None:
        files = []
        for name, program in PROGRAMS.items():
            path = self.folder / f"{name}.log"
            path.write_bytes(subprocess.run(program, env={**ENVIRONMENT, "CORDWOOD_REGION": name}, capture_output=True, check=True).stdout)
            files.append(path)
        address = self.start(files)
        for name, path in zip(PROGRAMS, files, strict=True):
            lines = path.read_text().splitlines()
            self.assertEqual(len(lines), len(WANTED), name)
            query = urllib.parse.urlencode({"filter": f'region="{name}"', "limit": 100})
            shown = self.until(lambda query=query: self.ask(address, f"/api/platform/logs?{query}")["items"], len(WANTED))
            by_message = {one["message"]: one for one in shown}
            self.assertEqual(set(by_message), set(WANTED), name)
            for message, wanted in WANTED.items():
                with self.subTest(logger=name, message=message):
                    self.check(by_message[message], {**COMMON, "region": name, **wanted}, DATA.get(message))
                    # Rust knows a caller's file and line; the function's name takes a macro.
                    if name != "rust" or message != "Instance spawned":
                        self.assertTrue(by_message[message]["function"])
        tasks = self.until(lambda: self.ask(address, "/api/tasks/42/logs")["items"], len(PROGRAMS))
        self.assertEqual([(one["source"], one["message"], one["metadata"]) for one in tasks], [("plugin", "half done", {"progress": 50})] * len(PROGRAMS))

    def check(self, shown: dict[str, Any], wanted: dict[str, Any], data: dict[str, Any] | None) -> None:
        self.assertEqual({key: shown.get(key) for key in wanted}, wanted)
        self.assertRegex(shown["file"], r"every_field\.(py|mjs|rs)$")
        self.assertGreater(shown["line"], 0)
        if shown["level"] == "ERROR":
            self.assertIn("card refused", shown["errorStack"])
            self.assertRegex(shown["signature"], r"^v\d+:")
        # The application's own time stays beside the runtime's.
        self.assertRegex(shown["data"].pop("timestamp"), "^2")
        self.assertEqual(shown["data"], data or {})


if __name__ == "__main__":
    unittest.main()
