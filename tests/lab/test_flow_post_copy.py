# SPDX-License-Identifier: Apache-2.0
"""Budgets that run out over guests that never converge: aborted, switched to post-copy, paused; and post-copies that break."""

from __future__ import annotations

import logging
import threading
import time
from concurrent import futures
from typing import Any

import pytest

from tests.lab import flow
from tests.lab.checks import TRANSFER, Tell, check_deadline, check_pause, check_whole, deadline_at, never_ending
from wherry.model import states
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab

_pause = threading.Event()
#: Slow enough to be broken before it is over: 24 MiB at 4 MiB/s.
SLOW_POST_COPY: dict[str, Any] = {"live_migration_permit_post_copy": True, "live_migration_postcopy_bandwidth": 4}


def break_until_seen(wherry: flow.Flow, move: flow.Move) -> None:
    """Close the migration's connection once the guest runs at h2, and wait until the record says that it is broken."""
    flow.until(lambda: move.guest.state(wherry.h2).startswith("running"), "the guest to run at the destination")
    assert wherry.h1.break_migration_sockets() > 0
    record = flow.until(lambda: found if (found := move.record)["reason"] == "post_copy_broken" else None, "the record to say so")
    assert record["status"] == "running (post-copy)"


@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "all-killed"])
def test_three_budgets_at_once_each_ends_as_asked(start_wherry: flow.StartWherry, is_killed: bool, tell: Tell) -> None:
    """Abort, post-copy and pause; also with SIGKILL for api, conductor and agents 2 s before, and all of it started again."""
    wherry = start_wherry(is_separate=True, libvirt={"live_migration_permit_post_copy": True})
    process = wherry.process
    assert isinstance(process, flow.Separate)
    with futures.ThreadPoolExecutor(3) as pool:
        guests = list(pool.map(lambda name: never_ending(wherry, name, range_mib=16), ("aborted", "switched", "paused")))
    wherry.h1.migration_link.shape(mib_per_s=9)
    budget = 10 if is_killed else 6

    def move(guest: labs.Guest, action: str) -> flow.Move:
        asked = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=budget, on_timeout=action)
        asked.until_status("running")
        return asked

    aborted, switched = move(guests[0], "abort"), move(guests[1], "force_complete")
    # Whether a transfer may switch is settled when it starts: the third one is left with the pause.
    process.reconfigure("libvirt", live_migration_permit_post_copy=False)
    paused = move(guests[2], "force_complete")
    moves = {aborted: "abort", switched: "switch to post-copy", paused: "pause the guest"}
    due = {one: deadline_at(one) for one in moves}
    if is_killed:
        # Two seconds before the first of them is due.
        _pause.wait(min(due.values()) - 2 - time.time())
        assert {one.record["status"] for one in moves} == {"running"}
        process.kill()
        wherry.start()
        for one in moves:
            assert abs(deadline_at(one) - due[one]) < 0.01, "the record keeps it"
    ends = {moves[one]: (record["status"], record["reason"]) for one in moves if (record := one.until_ended(seconds=60))}
    assert ends == {"abort": ("cancelled", "deadline"), "switch to post-copy": ("completed", None), "pause the guest": ("completed", None)}
    for one, what in moves.items():
        check_deadline(one, what, tell, outage=max(0.0, process.served_at - due[one]) if is_killed else 0.0)
    check_pause(paused, tell)
    wherry.h1.restore_migration_link()
    for one, host in ((aborted, "h1"), (switched, "h2"), (paused, "h2")):
        check_whole(wherry, one.guest, host)


@pytest.mark.slow
def test_a_guest_with_its_memory_in_a_file_is_paused_instead(start_wherry: flow.StartWherry, tell: Tell) -> None:
    """Post-copy is permitted, and a switch would end this guest: its memory cannot be fetched page by page."""
    wherry = start_wherry(libvirt={"live_migration_permit_post_copy": True})
    guest = never_ending(wherry, extra_domain="<memoryBacking><source type='file'/></memoryBacking>")
    wherry.h1.migration_link.shape(mib_per_s=8)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    record = move.until_ended(seconds=60)
    assert (record["status"], record["reason"]) == ("completed", None)
    check_deadline(move, "pause the guest", tell)
    check_whole(wherry, guest, "h2")


@pytest.mark.slow
def test_a_broken_post_copy_is_resumed_without_anybody(start_wherry: flow.StartWherry, tell: Tell) -> None:
    """The migration's connection is closed in post-copy: both sides keep their part, and are joined again."""
    wherry = start_wherry(libvirt=SLOW_POST_COPY)
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=8)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    move.until_status("running (post-copy)")
    break_until_seen(wherry, move)
    record = move.until_ended(seconds=60)
    assert (record["status"], record["reason"]) == ("completed", None)
    check_deadline(move, "switch to post-copy", tell)
    details = move.event(TRANSFER)["details"]
    assert "post-copy lost its connection" in details
    tell(details)
    check_whole(wherry, guest, "h2")


def broken(wherry: flow.Flow) -> flow.Move:
    """Bring a guest into post-copy and close its connection."""
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=8)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    move.until_status("running (post-copy)")
    break_until_seen(wherry, move)
    return move


def ask_for(move: flow.Move, action: str) -> str:
    """Ask for something about a broken post-copy; give the request's id."""
    path = f"/servers/{move.guest.uuid}/migrations/{move.id}/action"
    answer = move.flow.request("POST", path, version=flow.OWN, json={action: None})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["x-openstack-request-id"])


#: Left to itself it would not be resumed while a test lasts.
PATIENT = {"post_copy_resume_initial_seconds": 600, "post_copy_resume_max_seconds": 600}


@pytest.mark.slow
def test_a_broken_post_copy_is_resumed_by_the_next_agent(start_wherry: flow.StartWherry, tell: Tell) -> None:
    """Everything is killed while it is broken, and whoever comes next mends it."""
    wherry = start_wherry(is_separate=True, libvirt=SLOW_POST_COPY, agent=PATIENT)
    process = wherry.process
    assert isinstance(process, flow.Separate)
    move = broken(wherry)
    process.kill()
    process.write("agent", post_copy_resume_initial_seconds=1)
    process.write("agent", post_copy_resume_max_seconds=2)
    wherry.start()
    assert move.until_ended(seconds=60)["status"] == "completed"
    tell(move.event(TRANSFER)["details"])
    check_whole(wherry, move.guest, "h2")


@pytest.mark.slow
def test_a_broken_post_copy_is_resumed_by_request(start_wherry: flow.StartWherry, tell: Tell) -> None:
    """At the lowest bandwidth there is, where its source notices the break last; one who asks and is refused asks again."""
    wherry = start_wherry(libvirt={**SLOW_POST_COPY, "live_migration_postcopy_bandwidth": 1}, agent=PATIENT)
    move = broken(wherry)
    asked: list[str] = []

    def is_mended() -> bool:
        record = move.record
        if record["reason"] == "post_copy_broken" and record["status"] not in states.TERMINAL:
            asked.append(ask_for(move, "resume_post_copy"))
            return False
        return True

    flow.until(is_mended, "it to flow again", seconds=30, interval=1.0)
    record = move.until_ended(seconds=90)
    assert (record["status"], record["reason"]) == ("completed", None)
    (event,) = move.events_of(asked[0])
    assert (event["event"], event["result"]) == ("compute_live_migration_resume_post_copy", "Success")
    tell(f"asked {len(asked)} times: {move.event(TRANSFER)['details']}")
    check_whole(wherry, move.guest, "h2")


@pytest.mark.slow
def test_a_source_that_did_not_notice_the_break_is_told(start_wherry: flow.StartWherry, tell: Tell) -> None:
    """The connection is closed at the destination, and no word of it passes the network: the source refuses to resume until it is told."""
    wherry = start_wherry(
        libvirt={**SLOW_POST_COPY, "live_migration_post_copy_stuck_seconds": 3},
        agent={"post_copy_resume_initial_seconds": 1, "post_copy_resume_max_seconds": 2},
    )
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=8)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    move.until_status("running (post-copy)")
    flow.until(lambda: guest.state(wherry.h2).startswith("running"), "the guest to run at the destination")
    no_reset = ("OUTPUT", "-p", "tcp", "-d", wherry.h1.migration_address, "--tcp-flags", "RST", "RST", "-j", "DROP")
    assert wherry.h2.exec("iptables", "-A", *no_reset).returncode == 0
    try:
        assert wherry.h2.break_migration_sockets() > 0
        record = move.until_ended(seconds=60)
    finally:
        wherry.h2.exec("iptables", "-D", *no_reset)
    assert (record["status"], record["reason"]) == ("completed", None)
    details = move.event(TRANSFER)["details"]
    assert "resuming post-copy failed" in details, "it was refused at first"
    tell(details)
    check_whole(wherry, guest, "h2")


@pytest.mark.slow
def test_a_broken_post_copy_that_is_given_up_leaves_both_sides(start_wherry: flow.StartWherry) -> None:
    wherry = start_wherry(libvirt=SLOW_POST_COPY, agent=PATIENT)
    move = broken(wherry)
    processes = [host.qemu_process(move.guest.name) for host in (wherry.h1, wherry.h2)]
    request_id = ask_for(move, "give_up")
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("error", "post_copy_given_up")
    server = wherry.server(move.guest)
    assert server is not None
    assert server["status"] == "ERROR"
    (event,) = move.events_of(request_id)
    assert (event["event"], event["result"]) == ("compute_live_migration_give_up", "Success")
    states = [host.domain_state(move.guest.name) for host in (wherry.h1, wherry.h2)]
    assert states == ["paused (post-copy failed)", "running (post-copy failed)"]
    for process in processes:
        # QEMU in a broken post-copy takes 10 s to end when it is asked to.
        assert process is not None
        process.kill()


@pytest.mark.slow
def test_a_guest_paused_to_complete_runs_on_at_the_source_when_the_move_fails(start_wherry: flow.StartWherry, tell: Tell) -> None:
    wherry = start_wherry()
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=2)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    flow.until(lambda: guest.state(wherry.h1).startswith("paused"), "the guest to be paused")
    process = wherry.h2.qemu_process(guest.name)
    assert process is not None, "its memory is still on its way"
    process.kill()
    record = move.until_ended()
    assert record["status"] == "failed", record
    check_deadline(move, "pause the guest", tell)
    check_whole(wherry, guest, "h1")


@pytest.mark.slow
# TCP tries again within as long as the link was down.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("networks", ["migration", "migration and control"])
def test_a_link_that_is_down_for_a_minute_in_post_copy_is_outlasted(start_wherry: flow.StartWherry, networks: str, tell: Tell) -> None:
    """Longer than any keep-alive; the guest waits for its pages, and has them afterwards, without a person doing anything."""
    wherry = start_wherry(libvirt=SLOW_POST_COPY)
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=8)
    move = wherry.live_migrate(guest, version=flow.OWN, timeout_seconds=3, on_timeout="force_complete")
    move.until_status("running (post-copy)")
    flow.until(lambda: guest.state(wherry.h2).startswith("running"), "the guest to run at the destination")
    links = [wherry.h2.migration_link, *([wherry.h2.control_link] if "control" in networks else [])]
    for link in links:
        link.cut()
    cut = time.monotonic()
    _pause.wait(60)
    assert move.record["status"] == "running (post-copy)"
    for link in links:
        link.restore()
    record = move.until_ended(seconds=120)
    tell(f"{networks} link down for 60 s in post-copy: ended {time.monotonic() - cut - 60:.1f} s after it was back")
    assert (record["status"], record["reason"]) == ("completed", None)
    tell(move.event(TRANSFER)["details"])
    check_whole(wherry, guest, "h2")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_aborts_reach_libvirt_at_once(start_wherry: flow.StartWherry, caplog: pytest.LogCaptureFixture, tell: Tell) -> None:
    wherry = start_wherry()
    guest = never_ending(wherry)
    wherry.h1.migration_link.shape(mib_per_s=8)
    took = []
    with caplog.at_level(logging.INFO, "wherry.agent.interventions"):
        for _ in range(50):
            move = wherry.live_migrate(guest)
            move.until_status("running")
            caplog.clear()
            begun = time.time()
            move.abort()
            assert move.until_ended()["status"] == "cancelled"
            # Written when libvirt's own call has returned.
            (taken,) = (one for one in caplog.records if "A transfer was acted on" in str(one.msg))
            took.append(taken.created - begun)
    took.sort()
    tell(f"abort asked for to libvirt's abort, 50 runs: median {took[25] * 1000:.0f} ms, longest {took[-1] * 1000:.0f} ms")
    assert took[-1] < 0.3
