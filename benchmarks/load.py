# SPDX-License-Identifier: Apache-2.0
"""Load on an API, made by wrk: each request is sent once, only the wished-for answers count, and what wrk itself used is told.

Debian: apt-get install wrk.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import urllib.parse
from collections.abc import Mapping, Sequence

#: One thread: the requests of all its connections are taken from one list, each once. wrk sends no more than one at a time on a connection.
_SCRIPT = """
-- Global where `done`, which has a state of its own, asks for it.
codes, sent = {}, -1
local paths = {}
local body = @BODY@
for line in io.lines(@LIST@) do paths[#paths + 1] = line end
wrk.method = @METHOD@
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-OpenStack-Nova-API-Version"] = @VERSION@
function request()
  -- wrk asks once for a request that it does not send.
  sent = sent + 1
  -- Beyond the list there is nothing to ask; the answers to these are not counted.
  return wrk.format(nil, paths[sent] or "/", nil, body)
end
function response(status, headers, text)
  codes[status] = (codes[status] or 0) + 1
end
function setup(thread) wrk.it = thread end
function done(summary, latency, requests)
  local counted = wrk.it:get("codes")
  local parts = {}
  for status, count in pairs(counted) do parts[#parts + 1] = string.format('"%d": %d', status, count) end
  local marks = {}
  for _, share in ipairs({50, 90, 99, 100}) do
    marks[#marks + 1] = string.format('"%d": %d', share, share == 100 and latency.max or latency:percentile(share))
  end
  local e = summary.errors
  io.write("RESULT ", string.format('{"sent": %d, "microseconds": %d, "codes": {%s}, "latency_us": {%s}, "errors": %d}\\n',
    wrk.it:get("sent"), summary.duration, table.concat(parts, ", "), table.concat(marks, ", "),
    e.connect + e.read + e.write + e.timeout))
end
"""


class LoadFailed(Exception):
    """wrk did not do what it must."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What came of one load."""

    clients: int
    seconds: float
    #: Answers by status.
    codes: Mapping[int, int]
    #: Percentage of the answers -> milliseconds that they took at most; 100 = the slowest.
    latency_ms: Mapping[int, float]
    #: Connections that failed, answers that never came.
    failures: int
    #: CPU time of wrk.
    client_cpu_seconds: float

    def per_second(self, status: int) -> float:
        """Give how many such answers came in a second."""
        return self.codes.get(status, 0) / self.seconds


def why_unavailable() -> str | None:
    """Say why there can be no load here; None when there can."""
    return None if shutil.which("wrk") else "wrk is not installed; on Debian: apt-get install wrk"


def run(  # noqa: PLR0913 - what is sent, where, and how
    url: str,
    paths: Sequence[str],
    directory: pathlib.Path,
    *,
    clients: int,
    seconds: float,
    method: str = "GET",
    body: object = None,
    version: str = "2.90",
) -> Load:
    """Send requests for so long, each path once.

    :raises LoadFailed: the list was too short, or wrk failed.
    """
    listed, script = directory / "paths.txt", directory / "load.lua"
    listed.write_text("\n".join(paths) + "\n")
    text = _SCRIPT
    values = {"BODY": "nil" if body is None else _lua(json.dumps(body)), "LIST": _lua(str(listed)), "METHOD": _lua(method)}
    for name, value in (values | {"VERSION": _lua(version)}).items():
        text = text.replace(f"@{name}@", value)
    script.write_text(text)
    split = urllib.parse.urlsplit(url)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "120s", "-s", str(script)]
    before = os.times()
    done = subprocess.run([*command, f"{split.scheme}://{split.netloc}"], capture_output=True, text=True, check=False)
    after = os.times()
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode != 0 or line is None:
        raise LoadFailed(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    told = json.loads(line.removeprefix("RESULT "))
    if told["sent"] > len(paths):
        raise LoadFailed(f"{told['sent']} requests were sent and there were {len(paths)} to send: give more")
    return Load(
        clients=clients,
        seconds=told["microseconds"] / 1e6,
        codes={int(status): count for status, count in told["codes"].items()},
        latency_ms={int(share): value / 1000 for share, value in told["latency_us"].items()},
        failures=told["errors"],
        client_cpu_seconds=after.children_user + after.children_system - before.children_user - before.children_system,
    )


def _lua(text: str) -> str:
    return json.dumps(text)
