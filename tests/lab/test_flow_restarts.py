# SPDX-License-Identifier: Apache-2.0
"""What needs a Wherry of its own: killed and started again in mid-copy, with few slots, with a deadline by configuration."""

from __future__ import annotations

import time
from concurrent import futures

import httpx
import pytest

from tests.lab import flow
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("version", [flow.ASYNCHRONOUS, pytest.param(flow.BLOCKING, marks=pytest.mark.slow)])
def test_a_copy_outlives_every_process_of_ours_and_its_record_comes_true(start_wherry: flow.StartWherry, version: str) -> None:
    """SIGKILL in mid-copy; while nothing of ours runs the copy goes on, and whoever comes next takes it up."""
    wherry = start_wherry(is_separate=True)
    guest = wherry.guest(payload="counter", memory_mib=64, range_mib=24, rate_mib_per_s=40)
    flow.until(lambda: guest.beacon().passes >= 1, "its range to be written once")
    wherry.h1.migration_link.shape(mib_per_s=16)
    move = wherry.live_migrate(guest, version=version)
    move.until_copying(wherry.h1)
    begun = move.record["created_at"]
    assert isinstance(wherry.process, flow.Separate)
    wherry.process.kill()
    sent = flow.job(wherry.h1, guest)["memory_processed"]
    flow.until(lambda: flow.job(wherry.h1, guest)["memory_processed"] > sent, "the copy to go on")
    wherry.start()
    # Not asked a second time.
    assert (move.record["status"], move.record["created_at"]) == ("running", begun)
    flow.until(lambda: (move.record["memory_processed_bytes"] or 0) > sent, "the counters to be reported again")
    wherry.h1.restore_migration_link()
    record = move.until_ended()
    assert (record["status"], record["reason"], record["dest_compute"]) == ("completed", None, "h2")
    first = "conductor_migrate_server" if version == flow.BLOCKING else "conductor_live_migrate_server"
    assert [(name, result) for name, _, result in move.told] == [
        (first, "Success"),
        ("compute_check_can_live_migrate_destination", "Success"),
        ("compute_check_can_live_migrate_source", "Success"),
        ("compute_pre_live_migration", "Success"),
        ("compute_live_migration", "Success"),
        ("compute_post_live_migration_at_destination", "Success"),
    ]
    assert guest.where(active_only=False) == ["h2"]
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes >= passes + 2, "a whole pass at the destination")
    guest.check_memory()


@pytest.mark.slow
def test_a_copy_that_ended_while_nobody_watched_is_recorded_as_it_ended(start_wherry: flow.StartWherry) -> None:
    """Nothing of ours runs when the guest arrives; the truth is read from both hypervisors afterwards."""
    wherry = start_wherry(is_separate=True)
    guest = wherry.guest(payload="dirty", memory_mib=64, range_mib=24, rate_mib_per_s=40)
    wherry.h1.migration_link.shape(mib_per_s=16)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    assert isinstance(wherry.process, flow.Separate)
    wherry.process.kill()
    wherry.h1.restore_migration_link()
    flow.until(lambda: guest.where(active_only=False) == ["h2"], "the guest to arrive")
    wherry.start()
    assert move.until_ended()["status"] == "completed"
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "h2")


@pytest.mark.slow
def test_a_request_whose_client_still_waited_when_everything_died_goes_on(start_wherry: flow.StartWherry) -> None:
    """SIGKILL in the checks of a blocking request: its client is cut off, and finds the outcome with the server's actions."""
    wherry = start_wherry(is_separate=True)
    guest = wherry.guest()
    wherry.h2.stop_libvirtd()
    with futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(wherry.ask, guest, wherry.h2, version=flow.BLOCKING)
        flow.until(lambda: actions(wherry, guest) and "compute_check_can_live_migrate_destination" in stages(wherry, guest), "its check")
        assert isinstance(wherry.process, flow.Separate)
        wherry.process.kill()
        assert isinstance(answer.exception(10), httpx.TransportError)
    wherry.h2.continue_libvirtd()
    wherry.start()
    flow.until(lambda: guest.where(active_only=False) == ["h2"], "the guest to arrive")
    flow.until(lambda: stages(wherry, guest).get("compute_post_live_migration_at_destination") == "Success", "the end")
    assert {name: result for name, result in stages(wherry, guest).items() if result != "Success"} == {}
    (found,) = wherry.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"]
    assert found["status"] == "completed"


def actions(wherry: flow.Flow, guest: labs.Guest) -> list[str]:
    """Give the request ids of a server's actions, as a client finds them that has none."""
    return [one["request_id"] for one in wherry.get(f"/servers/{guest.uuid}/os-instance-actions")["instanceActions"]]


def stages(wherry: flow.Flow, guest: labs.Guest) -> dict[str, str | None]:
    """Give the result of each stage of a server's one action."""
    (request_id,) = actions(wherry, guest)
    found = wherry.get(f"/servers/{guest.uuid}/os-instance-actions/{request_id}")["instanceAction"]["events"]
    return {event["event"]: event["result"] for event in reversed(found)}


def test_a_deadline_by_configuration_aborts(start_wherry: flow.StartWherry) -> None:
    """One second a GiB, and the least that counts is two."""
    wherry = start_wherry(libvirt={"live_migration_completion_timeout": 1})
    guest = wherry.guest(payload="dirty", memory_mib=64, range_mib=24, rate_mib_per_s=40)
    wherry.h1.migration_link.shape(mib_per_s=16)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    started = time.monotonic()
    running = move.record
    assert (running["timeout_seconds"], running["timeout_seconds_origin"], running["on_timeout"]) == (2, "configuration", "abort")
    record = move.until_ended()
    assert time.monotonic() - started < 3, "within a second of its time"
    assert (record["status"], record["reason"]) == ("cancelled", "deadline")
    assert "of 2 s (configuration)" in move.event("compute_live_migration")["details"]
    assert guest.where(active_only=False) == ["h1"]
    assert guest.state().startswith("running")


def test_with_one_slot_the_second_waits_for_the_first(start_wherry: flow.StartWherry) -> None:
    wherry = start_wherry(DEFAULT={"max_concurrent_live_migrations": 1})
    options = {"payload": "dirty", "memory_mib": 64, "range_mib": 24, "rate_mib_per_s": 40}
    first, second, third = (wherry.guest(name, **options) for name in ("first", "second", "third"))
    wherry.h1.migration_link.shape(mib_per_s=16)
    moving = wherry.live_migrate(first)
    moving.until_copying(wherry.h1)
    waiting = wherry.live_migrate(second)
    waiting.until_status("queued")
    dropped = wherry.live_migrate(third)
    dropped.until_status("queued")
    dropped.abort()
    assert dropped.until_ended()["status"] == "cancelled"
    assert flow.job(wherry.h1, second) == {}, "it has not begun"
    assert wherry.h2.domain_state(second.name) == "absent"
    assert (moving.record["status"], waiting.record["status"]) == ("running", "queued")
    wherry.h1.restore_migration_link()
    assert moving.until_ended()["status"] == "completed"
    assert waiting.until_ended()["status"] == "completed"
    assert [guest.where(active_only=False) for guest in (first, second, third)] == [["h2"], ["h2"], ["h1"]]
