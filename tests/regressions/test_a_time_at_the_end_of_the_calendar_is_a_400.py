# SPDX-License-Identifier: Apache-2.0
"""A time whose zone moves it out of the calendar was a 500 with a traceback in the log."""

from __future__ import annotations

import pytest

from wherry.drivers import simulated
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    "query",
    [
        "/servers?changes-since=9999-12-31T23:59:59-23:59",
        "/os-migrations?changes-before=9999-12-31T23:59:59-05:00",
        "/servers/{server}/os-instance-actions?changes-since=0001-01-01T00:00:00%2B05:00",
    ],
)
async def test_a_time_that_no_calendar_has_is_refused(query: str, world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    async with make_cloud(world) as cloud:
        answer = await cloud.request("GET", f"/v2.1{query.format(server=cloud.uuid('g1'))}")
        assert answer.status_code == 400, answer.text
        assert "is not a 'date-time'" in answer.json()["badRequest"]["message"]
