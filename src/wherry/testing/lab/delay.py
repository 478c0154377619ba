# SPDX-License-Identifier: Apache-2.0
"""Puts a distance between the control plane and the hosts: by netem where the kernel has it, else by a relay.

Must not touch the links between the hosts.
"""

from __future__ import annotations

import collections.abc
import json
import os
import pathlib
import select
import signal
import subprocess
import sys

from wherry.testing.lab import command, daemon, errors, host, network, processes, state

RELAY = pathlib.Path(__file__).with_name("relay.py")
START_TIMEOUT_SECONDS = 10.0


def apply(record: state.LabRecord, switch: network.Switch, hosts: collections.abc.Sequence[host.Host]) -> None:
    """Make the delays of the record real."""
    if record.delay_by == "netem":
        switch.delay_uplink(max(record.control_delay_ms.values(), default=0))
        return
    routes = [
        {
            "listen": [record.control_address(1), each.relay_port],
            "connect": [each.control_address, daemon.PORT],
            "delay_ms": record.control_delay_ms[each.name],
        }
        for each in hosts
        if each.name in record.control_delay_ms
    ]
    path = record.path / "relay.json"
    path.write_text(json.dumps(routes, indent=2) + "\n")
    running = _relay(record)
    if running is not None:
        running.send(signal.SIGHUP)
    elif routes:
        _start(record, path)


def _relay(record: state.LabRecord) -> processes.Process | None:
    return processes.read_pid_file(record.run_directory / "relay.pid")


def _start(record: state.LabRecord, path: pathlib.Path) -> None:
    """Start the relay as a daemon of its own and wait until it listens."""
    # A shell in between ends at once, so the relay is no child of ours: nothing of it is left to reap, and it outlives us.
    script = 'exec 3>&1; setsid "$@" >&3 2>"$0" </dev/null 3>&- & echo $!'
    argv = ["sh", "-c", script, str(record.path / "relay.log"), sys.executable, "-I", "-S", str(RELAY), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=command.ENVIRONMENT) as shell:
        assert shell.stdout is not None
        shell.wait(START_TIMEOUT_SECONDS)
        said = b""
        while b"ready" not in said:
            readable, _, _ = select.select([shell.stdout], [], [], START_TIMEOUT_SECONDS)
            chunk = os.read(shell.stdout.fileno(), 100) if readable else b""
            if not chunk:
                raise errors.LabError(f"the delaying relay did not start: see {record.path}/relay.log")
            said += chunk
    process = processes.identify(int(said.split()[0].removesuffix(b"ready")))
    if process is None:
        raise errors.LabError(f"the delaying relay died: see {record.path}/relay.log")
    (record.run_directory / "relay.pid").write_text(f"{processes.boot_id()} {process.pid} {process.started_ticks}\n")
