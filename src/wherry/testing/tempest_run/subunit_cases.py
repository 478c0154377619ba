# SPDX-License-Identifier: Apache-2.0
"""Runs in tempest's own environment: reads a stream of subunit from standard input, writes a line of JSON for each test.

Must not import anything of Wherry's.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def seconds(timestamps: list[Any]) -> float:
    """Say how long a test took; a class that is skipped has no beginning."""
    begun, ended = timestamps
    return float((ended - begun).total_seconds()) if begun and ended else 0.0


def why(details: dict[str, Any]) -> str:
    """Give the reason of a skip, or the traceback without the log beside it."""
    for name in ("reason", "traceback"):
        if name in details:
            return str(details[name].as_text())
    return "\n".join(content.as_text() for name, content in sorted(details.items()) if name.startswith("traceback"))


def write(test: dict[str, Any]) -> None:
    """Write one test."""
    line = {"id": test["id"], "status": test["status"], "why": why(test["details"]), "seconds": seconds(test["timestamps"])}
    sys.stdout.write(json.dumps(line) + "\n")


def main() -> None:
    """Convert the whole stream."""
    result = importlib.import_module("testtools").StreamToDict(write)
    stream = importlib.import_module("subunit").ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout")
    result.startTestRun()
    try:
        stream.run(result)
    finally:
        result.stopTestRun()


if __name__ == "__main__":
    main()
