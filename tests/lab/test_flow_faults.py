# SPDX-License-Identifier: Apache-2.0
"""Migrations that are aborted or disturbed: the guest is in one place afterwards, and the record says where and why."""

from __future__ import annotations

import logging
import threading
import time
import typing
from concurrent import futures

import pytest

from tests.lab import flow
from wherry.testing import lab as labs
from wherry.testing.lab import command

pytestmark = pytest.mark.lab

Wherry = flow.Flow
TRANSFER = "compute_live_migration"


def writing(wherry: Wherry, name: str = "", **options: typing.Any) -> labs.Guest:
    """A guest at h1 that writes all the time, and checks its memory itself."""
    pace = {"range_mib": 16, "rate_mib_per_s": 40, **options}
    guest = wherry.guest(name, payload="counter", memory_mib=64, **pace)
    flow.until(lambda: guest.beacon().passes >= 1, "its range to be written once")
    return guest


def never_ending(wherry: Wherry, **options: typing.Any) -> labs.Guest:
    """Such a guest, which writes faster than h1's link may send until that is restored."""
    guest = writing(wherry, **options)
    wherry.h1.migration_link.shape(mib_per_s=16)
    return guest


def check_at_source(wherry: Wherry, guest: labs.Guest) -> None:
    """It runs on at h1 as if nothing had been, and h2 has nothing of it."""
    assert guest.where(active_only=False) == ["h1"]
    assert guest.state().startswith("running")
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes > passes, "it to go on writing")
    guest.check_memory()
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", "h1", None)
    assert wherry.hypervisor(wherry.h1)["current_workload"] == 0, "no slot is held"


def check_at_destination(wherry: Wherry, guest: labs.Guest) -> None:
    """It runs at h2, whole, and h1 has nothing of it."""
    assert guest.where(active_only=False) == ["h2"]
    assert guest.state().startswith("running")
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes >= passes + 2, "a whole pass at the destination")
    guest.check_memory()
    server = wherry.server(guest)
    assert server is not None
    assert (server["status"], server["OS-EXT-SRV-ATTR:host"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", "h2", None)


# -------------------------------------------------------------------- by request


def test_a_guest_that_never_converges_is_aborted(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1, mib=20)
    assert wherry.hypervisor(wherry.h1)["current_workload"] == 1
    cancel = move.abort()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("cancelled", "requested")
    event = move.event(TRANSFER)
    assert (event["host"], event["result"]) == ("h1", "Error")
    assert cancel.headers["x-openstack-request-id"] in event["details"]
    assert move.event("compute_rollback_live_migration_at_destination")["result"] == "Success"
    (told,) = move.events_of(cancel.headers["x-openstack-request-id"])
    assert (told["event"], told["result"]) == ("compute_live_migration_abort", "Success")
    check_at_source(wherry, guest)


@pytest.mark.slow
def test_with_six_migrations_out_of_one_host_an_abort_reaches_libvirt_at_once(wherry: Wherry, caplog: pytest.LogCaptureFixture) -> None:
    with futures.ThreadPoolExecutor(3) as pool:
        guests = list(pool.map(lambda number: writing(wherry, f"six{number}"), range(6)))
    wherry.h1.migration_link.shape(mib_per_s=16)
    moves = [wherry.live_migrate(guest) for guest in guests]
    for move in moves:
        move.until_copying(wherry.h1, mib=0.1)
    with caplog.at_level(logging.INFO, "wherry.agent.interventions"):
        begun = time.time()
        moves[3].abort()
        flow.until(lambda: not flow.job(wherry.h1, guests[3]), "libvirt to have ended the job")
    # Written when libvirt's own call has returned.
    (taken,) = (one for one in caplog.records if "A transfer was acted on" in str(one.msg))
    assert taken.created - begun < 0.3
    assert moves[3].until_ended()["status"] == "cancelled"
    assert [move.record["status"] for move in moves if move is not moves[3]] == ["running"] * 5
    for move in moves:
        if move is not moves[3]:
            move.abort()
    assert {move.until_ended()["status"] for move in moves} == {"cancelled"}


# -------------------------------------------------------------------- the network


@pytest.mark.slow
def test_a_cut_network_stalls_the_copy_and_a_mended_one_lets_it_end(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h1.cut_migration_link()
    frozen = flow.until(lambda: stands_still(wherry, guest), "the counters to stand still", interval=0.3)
    flow.until(lambda: move.record["memory_remaining_bytes"] == frozen, "the record to show where it stands")
    assert (move.record["status"], guest.state(wherry.h1).split()[0]) == ("running", "running")
    assert flow.job(wherry.h1, guest)["memory_remaining"] == frozen
    wherry.h1.restore_migration_link()
    assert move.until_ended()["status"] == "completed"
    check_at_destination(wherry, guest)


def stands_still(wherry: Wherry, guest: labs.Guest) -> int | None:
    """Give what remains to be sent, if that did not change in a moment."""
    before = flow.job(wherry.h1, guest)["memory_processed"]
    command.pause(0.3)
    now = flow.job(wherry.h1, guest)
    return now["memory_remaining"] if now["memory_processed"] == before else None


@pytest.mark.slow
def test_a_copy_over_a_cut_network_is_aborted(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h1.cut_migration_link()
    move.abort()
    assert move.until_ended()["status"] == "cancelled"
    check_at_source(wherry, guest)


# -------------------------------------------------------------------- the hypervisors


def test_a_stopped_libvirtd_at_the_destination_holds_up_the_end_only(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h2.stop_libvirtd()
    wherry.h1.restore_migration_link()
    flow.until(lambda: wherry.h1.domain_state(guest.name).startswith("paused"), "the copy to come to its end")
    assert move.record["status"] == "running"
    wherry.h2.continue_libvirtd()
    assert move.until_ended()["status"] == "completed"
    check_at_destination(wherry, guest)


def test_a_killed_libvirtd_at_the_destination_ends_the_migration_at_the_source(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h2.kill_libvirtd()
    flow.until(lambda: not flow.job(wherry.h1, guest), "the source to give up")
    assert move.record["status"] == "running", "what the destination has is not known yet"
    wherry.h2.start_libvirtd()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("failed", "hypervisor_failed"), record
    check_at_source(wherry, guest)


@pytest.mark.slow
def test_a_stopped_libvirtd_at_the_source_is_waited_for(wherry: Wherry) -> None:
    """Its copy goes on; until it answers, nothing is concluded."""
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    lost = len(connections(wherry.h1))
    wherry.h1.stop_libvirtd()
    flow.until(lambda: len(connections(wherry.h1)) < lost, "the agent to give its connections up")
    assert move.record["status"] == "running"
    wherry.h1.continue_libvirtd()
    wherry.h1.restore_migration_link()
    assert move.until_ended()["status"] == "completed"
    check_at_destination(wherry, guest)


def connections(host: labs.Host, *more: str) -> list[str]:
    """List this machine's connections to a host's libvirtd."""
    return command.run(["ss", "-H", "-t", "-n", *more, "state", "established", "dst", host.control_address]).splitlines()


def test_a_killed_libvirtd_at_the_source_leaves_the_guest_there(wherry: Wherry) -> None:
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h1.restart_libvirtd()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("failed", "hypervisor_connection_lost"), record
    check_at_source(wherry, guest)


@pytest.mark.slow
def test_an_agent_that_lost_its_hypervisor_takes_the_migration_up_again(wherry: Wherry) -> None:
    """Its connections break in mid-copy, that of the migrate call among them, and are made anew."""
    guest = never_ending(wherry)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    # Closed at once, as by a firewall that forgot them.
    assert len(connections(wherry.h1, "-K")) >= 2
    flow.until(lambda: connections(wherry.h1), "the agent to be back")
    assert move.record["status"] == "running"
    wherry.h1.restore_migration_link()
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("completed", None)
    check_at_destination(wherry, guest)


def test_a_lost_closing_reply_leaves_one_guest_at_the_destination(wherry: Wherry) -> None:
    """The source's libvirtd resumes its guest, which runs at the destination: for at most a second both run."""
    guest = wherry.guest(payload="counter", memory_mib=64, range_mib=4, rate_mib_per_s=6)
    wherry.h1.migration_link.shape(mib_per_s=12)
    move = wherry.live_migrate(guest)
    # The switch-over takes some 100 ms: the silence must be there before its end.
    flow.until(lambda: wherry.h1.domain_state(guest.name).startswith("paused"), "the switch-over", interval=0.001)
    wherry.h2.silence_libvirtd(wherry.h1)
    watch = Watch(wherry, guest)
    record = move.until_ended(seconds=60)
    both = watch.stop()
    assert record["status"] == "completed", record
    assert both <= 1.0, f"both ran for {both:.2f} s"
    check_at_destination(wherry, guest)


class Watch(threading.Thread):
    """Looks at both sides all the time, and adds up for how long both run."""

    def __init__(self, wherry: Wherry, guest: labs.Guest) -> None:
        super().__init__(daemon=True)
        self._hosts, self._guest = (wherry.h1, wherry.h2), guest
        self._is_over = threading.Event()
        self._seconds = 0.0
        self.start()

    def run(self) -> None:
        before = time.monotonic()
        while not self._is_over.wait(0.05):
            states = [host.domain_state(self._guest.name) for host in self._hosts]
            now = time.monotonic()
            if all(state.startswith("running") for state in states):
                self._seconds += now - before
            before = now

    def stop(self) -> float:
        """Give the seconds."""
        self._is_over.set()
        self.join()
        return self._seconds


# -------------------------------------------------------------------- by others


def test_guests_that_come_go_and_change_outside_are_followed(wherry: Wherry) -> None:
    guest = wherry.guest("outside", persistent=True, memory_mib=64)

    def shown(status: str | None) -> None:
        flow.until(lambda: (wherry.server(guest) or {}).get("status") == status, f"the server to be {status}", seconds=5)

    shown("ACTIVE")
    for words, status in (
        (("suspend",), "PAUSED"),
        (("resume",), "ACTIVE"),
        (("destroy",), "SHUTOFF"),
        (("start",), "ACTIVE"),
        (("destroy",), "SHUTOFF"),
        (("undefine",), None),
    ):
        wherry.h1.virsh(*words, guest.name)
        shown(status)


def test_a_guest_that_somebody_moves_by_hand_is_found_where_it_is(wherry: Wherry) -> None:
    guest = wherry.guest()
    wherry.h1.virsh("migrate", guest.name, wherry.h3.uri, "--live", "--p2p")
    flow.until(lambda: (wherry.server(guest) or {}).get("OS-EXT-SRV-ATTR:host") == "h3", "the server to be at h3", seconds=10)


def test_a_guest_that_somebody_destroys_in_mid_copy_is_not_brought_back(wherry: Wherry) -> None:
    guest = never_ending(wherry, persistent=True)
    move = wherry.live_migrate(guest)
    move.until_copying(wherry.h1)
    wherry.h1.virsh("destroy", guest.name)
    record = move.until_ended()
    assert (record["status"], record["reason"]) == ("failed", "guest_stopped"), record
    assert guest.where() == []
    assert guest.where(active_only=False) == ["h1"]
    flow.until(lambda: (wherry.server(guest) or {}).get("status") == "SHUTOFF", "the server to be SHUTOFF")
