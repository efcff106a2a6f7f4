"""The package as it would be published: a wheel by its PEP 517 backend, installed from its file into an empty environment, and used as a newcomer would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from parts import TOP

NEWCOMER = """
from cordwood_logger import create_logger
log = create_logger("shop")
log.info("paid", orderId=17)
"""


class Package(unittest.TestCase):
    def test_built_installed_used(self) -> None:
        try:
            from flit_core import buildapi
        except ImportError:
            self.skipTest("flit_core is not installed")
        with tempfile.TemporaryDirectory() as folder:
            before = os.getcwd()
            os.chdir(TOP)
            try:
                wheel = Path(folder) / buildapi.build_wheel(folder)
                source = Path(folder) / buildapi.build_sdist(folder)
            finally:
                os.chdir(before)
            self.assertTrue(source.name.startswith("cordwood_logger-"))
            names = zipfile.ZipFile(wheel).namelist()
            metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("/METADATA"))).decode()
            self.assertIn("cordwood_logger/py.typed", names)
            self.assertTrue(any(name.endswith("LICENSE") for name in names), names)
            self.assertTrue(all(name.startswith("cordwood_logger") for name in names), names)
            self.assertNotIn("Requires-Dist", metadata)
            self.assertIn("# cordwood-logger for Python", metadata)

            place = Path(folder) / "empty"
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check", "--target", place, wheel], check=True)
            env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(place), "CORDWOOD_FORMAT": "json"}
            said = subprocess.run([sys.executable, "-c", NEWCOMER], env=env, cwd=folder, capture_output=True, text=True, check=True)
            record = json.loads(said.stdout)
            self.assertEqual((record["service"], record["message"], record["orderId"]), ("shop", "paid", 17))
            env["CORDWOOD_FORMAT"] = "console"
            said = subprocess.run([sys.executable, "-c", NEWCOMER], env=env, cwd=folder, capture_output=True, text=True, check=True)
            self.assertRegex(said.stdout, r"INFO  shop paid orderId=17\n$")


if __name__ == "__main__":
    unittest.main()
