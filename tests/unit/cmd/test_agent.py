# SPDX-License-Identifier: Apache-2.0
"""An agent process of many hosts: they start side by side, and what keeps one from starting ends all."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time
from typing import Any

import pytest

from wherry import config as configs
from wherry import errors
from wherry.agent import storage
from wherry.cmd import agent

_HOSTS = 40
_SCENARIO = f"""
name: many
hosts: [{{name: "host-{{n}}", count: {_HOSTS}}}]
"""


@pytest.fixture
def process(tmp_path: pathlib.Path) -> agent.AgentProcess:
    """Make one whose bus is away, which every host waits for a fifth of a second."""
    (tmp_path / "many.yaml").write_text(_SCENARIO)
    overrides: dict[str, dict[str, Any]] = {
        "DEFAULT": {"state_path": str(tmp_path)},
        "agent": {"driver": "simulated", "journal_fsync": False},
        "simulated": {"scenario_file": str(tmp_path / "many.yaml")},
        "bus": {"transport_url": "nats://127.0.0.1:1", "connect_timeout_seconds": 0.2},
    }
    return agent.AgentProcess(configs.load([], {}, overrides))


async def test_hosts_start_side_by_side(process: agent.AgentProcess) -> None:
    begun = time.monotonic()
    said = await process.start()
    took = time.monotonic() - begun
    assert said.count("host-") == _HOSTS
    lacks = await process.health.lacks()
    await process.stop()
    assert "bus" in {one.what for one in lacks}
    assert took < _HOSTS * 0.2 / 2, f"it took {took:.1f} s"


async def test_a_journal_that_another_agent_has_ends_the_start(process: agent.AgentProcess, tmp_path: pathlib.Path) -> None:
    taken = storage.FileStorage(tmp_path / "agent" / "host-7", is_synced=False)
    await taken.lock("the other")
    with pytest.raises(errors.JournalLocked, match="host-7"):
        await process.start()
    await taken.unlock()
    # What was started was stopped again: no journal is held any more.
    await process.start()
    await process.stop()


def test_an_agent_loads_no_database_and_no_web_framework() -> None:
    """It is back sooner without them, and so are the deadlines that it watches over."""
    look = (
        "import sys, wherry.cmd.agent, wherry.agent.service\n"
        "print([name for name in ('sqlalchemy', 'asyncpg', 'starlette', 'oslo_policy', 'jsonschema') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == "[]\n"
