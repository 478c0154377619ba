# SPDX-License-Identifier: Apache-2.0
"""Found by the simulation: a power action that was given up before any conductor took it on had failed, and no event said why."""

from __future__ import annotations

import pytest

from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("what", ["reset", "deletion"])
async def test_a_pause_that_was_taken_back_says_why(what: str, make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        path = f"/v2.1/servers/{cloud.uuid('g1')}"
        cloud.kill_conductor()
        asked = await cloud.request("POST", f"{path}/action", json={"pause": None})
        assert asked.status_code == 202
        if what == "reset":
            answer = await cloud.request("POST", f"{path}/action", json={"os-resetState": {"state": "active"}})
        else:
            answer = await cloud.request("DELETE", path)
        assert answer.status_code in (202, 204)
        await cloud.start_conductor()
        request_id = asked.headers["x-openstack-request-id"]

        async def told() -> str | None:
            shown = (await cloud.request("GET", f"{path}/os-instance-actions/{request_id}")).json()["instanceAction"]
            (event,) = shown["events"] or [{"result": None}]
            return event["details"] if event["result"] == "Error" else None

        details = await cloud.until(told)
        assert details == f"The action on the server was given up: {'its state was reset' if what == 'reset' else 'it is to be deleted'}."
