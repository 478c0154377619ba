# SPDX-License-Identifier: Apache-2.0
"""What the statistics of vCPUs, as libvirt 9.0 gave them, say about whether a guest has run."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.drivers.libvirt import arrival


@pytest.mark.parametrize(
    ("statistics", "has_run"),
    [
        pytest.param({"vcpu.0.time": 0, "vcpu.0.exits.sum": 0, "vcpu.0.signal_exits.sum": 0}, False, id="arrived-paused"),
        pytest.param({"vcpu.0.time": 10_000_000, "vcpu.0.exits.sum": 185, "vcpu.0.signal_exits.sum": 1}, True, id="ran"),
        pytest.param({"vcpu.0.time": 0, "vcpu.0.exits.sum": 0, "vcpu.0.signal_exits.sum": 3}, True, id="only-halted"),
        pytest.param({"vcpu.0.time": 90_000_000, "vcpu.0.exits.sum": 0, "vcpu.0.signal_exits.sum": 0}, False, id="slow-to-set-up"),
        pytest.param({"vcpu.0.exits.sum": 0, "vcpu.1.exits.sum": 0, "vcpu.1.halt_exits.sum": 1}, True, id="another-vcpu"),
        pytest.param({"vcpu.0.time": 0, "vcpu.1.time": 0}, False, id="no-counters"),
        pytest.param({"vcpu.0.time": 40_000_000, "vcpu.1.time": 30_000_000}, True, id="no-counters-ran"),
        pytest.param({"vcpu.current": 1, "cpu.time": 900_000_000, "vcpu.0.guest_mode.cur": True}, False, id="nothing-told"),
    ],
)
def test_a_guest_has_run_when_a_vcpu_has(statistics: dict[str, Any], has_run: bool) -> None:
    assert arrival.has_run(statistics) is has_run
