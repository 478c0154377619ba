# SPDX-License-Identifier: Apache-2.0
"""A machine whose clock is an hour off: its conductor took every host for silent and refused all migrations, its api showed all down."""

from __future__ import annotations

import datetime
import json
import pathlib

import pytest

from tests.integration.processes import conftest
from wherry.testing import fleet as fleets

pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow]

#: Makes the process's machine one whose clock is wrong.
_WRONG = """
import datetime
from wherry import clock

right = clock.LoopClock.now
clock.LoopClock.now = lambda self: right(self) + datetime.timedelta(hours={hours})
"""


@pytest.mark.parametrize("hours", [1, -1])
def test_processes_on_a_machine_whose_clock_is_wrong_go_by_the_databases(site: conftest.Site, tmp_path: pathlib.Path, hours: int) -> None:
    (tmp_path / "sitecustomize.py").write_text(_WRONG.format(hours=hours))
    wrong = {"PYTHONPATH": str(tmp_path)}
    fleet, name = site.fleet, f"quick-{17 + hours}"
    conductor = fleets.Program("conductor", "wrong", tmp_path, fleet.conductors[0].options, environment=wrong)
    right, fleet.apis[0] = fleet.apis[0], fleets.Program("api", "api-wrong", tmp_path, fleet.apis[0].options, environment=wrong)
    for one in (*fleet.conductors, right):
        one.stop()
    try:
        with conductor, fleet.apis[0]:
            conductor.start()
            fleet.apis[0].start()
            services = site.request("GET", "/os-services?binary=nova-compute").json()["services"]
            assert {one["state"] for one in services} == {"up"}
            assert site.migrate(name).status_code == 202
            site.until_status(name, "completed")
            (record,) = site.request("GET", f"/os-migrations?instance_uuid={site.uuid(name)}").json()["migrations"]
            asked = datetime.datetime.fromisoformat(record["created_at"]).replace(tzinfo=datetime.UTC)
            assert abs(datetime.datetime.now(datetime.UTC) - asked) < datetime.timedelta(minutes=2)
            assert {one["state"] for one in json.loads(conductor.run("status", "--format", "json").stdout)["agents"]} == {"up"}
            for one in (conductor, fleet.apis[0]):
                assert f"{hours * 3600}.0" in one.wait_logged("The clock of this machine is wrong")
    finally:
        fleet.apis[0] = right
        for one in (*fleet.conductors, right):
            one.start()
