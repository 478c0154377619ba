# SPDX-License-Identifier: Apache-2.0
"""Conductors and agents, real processes of their own, are killed (SIGKILL) at every step of moves of real guests.

What comes of each stands in `docs/reference/killed-moves.md`; each test prints what it saw, and compares.
"""

from __future__ import annotations

import threading
from concurrent import futures

import pytest

from tests.lab import births, checks, flow, sites, strikes, struck_moves
from wherry.testing import fleet as fleets
from wherry.testing.lab import boot_image

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(300)]

Moment = strikes.Moment
#: How long an agent needs to hear what it is told.
_HEARD_SECONDS = 0.05
_pause = threading.Event()
_MEMORY_MIB = {"small": 64, "big": 80}
#: Written behind the guest's own pattern, so that its disk takes a while to be sent.
_FILL = ("640M", "48M")


@pytest.fixture(scope="module")
def _shared_site(start_site: sites.StartSite) -> sites.SiteFlow:
    running = start_site(
        births.add_image,
        DEFAULT={"allow_resize_to_same_host": False},
        conductor={
            "lease_seconds": 1.2,
            "lease_renew_interval_seconds": 0.3,
            "shutdown_timeout_seconds": 0.3,
            "shutdown_poll_interval_seconds": 0.1,
            "move_poll_interval_seconds": 0.1,
        },
        # A conductor waits so long for the answer of an agent that died with the question.
        bus={"rpc_response_timeout_seconds": 3},
        libvirt={"virt_type": "qemu"},
    )
    strikes.prepare(running.fleet)
    for name, memory_mib in _MEMORY_MIB.items():
        births.add_flavor(running, name, memory_mib=memory_mib)
    service = running.get("/os-services?host=h3&binary=nova-compute")["services"][0]["id"]
    # So that it is known where a resize goes.
    assert running.request("PUT", f"/os-services/{service}", json={"status": "disabled"}).status_code == 200
    return running


class Chain:
    """One server that is moved to and fro, and struck."""

    def __init__(self, site: sites.SiteFlow) -> None:
        self.site = site
        self.used = {name: self._used(name) for name in ("h1", "h2")}
        self.files = {host.name: births.files(host) for host in site.lab.hosts}
        self.server = births.Birth(site, availability_zone="nova:h1")
        self.server.until("ACTIVE", "h1")
        self.server.until_booted(1)
        self.boots = 1
        self.host, self.kept_at, self.size, self.kept_size = "h1", "", "small", ""
        self.path = f"{births.GUESTS}/{self.server.uuid}.qcow2"
        self.name = self.server.name
        self._fill()

    @property
    def other(self) -> str:
        """The host where the server's guest is not."""
        return "h2" if self.host == "h1" else "h1"

    def act(self, asked: str, case: struck_moves.Case | None = None) -> str:
        """Do it, perhaps struck, and check what came of it; give the migration's status."""
        bodies = {"migrate": {"host": self.other}, "resize": {"flavorRef": "big" if self.size == "small" else "small"}}
        striker = self._striker(case) if case is not None else None
        with futures.ThreadPoolExecutor(1) as pool:
            if striker is not None:
                striker.arm()
            # It is answered when the checks are over, whoever dies meanwhile.
            answer = pool.submit(self.server.ask, asked, bodies.get(asked))
            if striker is not None:
                striker.join()
            status = answer.result().status_code
        assert status in (202, 204) or (status == 400 and case is not None and "error" in case.ends), answer.result().text
        for one in self.site.fleet.programs():
            one.wait_ready()
        end = self._until_over()
        self._note(asked, end)
        self._check()
        return end

    def end(self) -> None:
        """Delete the server; nothing is left of it."""
        self.server.delete()
        assert {host.name: births.files(host) for host in self.site.lab.hosts} == self.files
        assert all(self.name not in host.domains() for host in self.site.lab.hosts)
        flow.until(lambda: {name: self._used(name) for name in self.used} == self.used, "what it took of its hosts to be free")

    def _fill(self) -> None:
        self.server.act("os-stop")
        self.server.until("SHUTOFF")
        where, length = _FILL
        done = self.site.lab.host(self.host).exec("qemu-io", "-f", "qcow2", "-c", f"write -P 0x5a {where} {length}", self.path)
        assert done.returncode == 0, done.stderr
        self.server.act("os-start")
        self.server.until("ACTIVE")
        self.boots = 2
        self.server.until_booted(2)

    def _striker(self, case: struck_moves.Case) -> strikes.Striker:
        # The source of a move is where the guest is; that of its confirmation, or of the way back, keeps it.
        is_move = case.asked in struck_moves.AFTER
        sides = {"source": self.host if is_move else self.kept_at, "destination": self.other if is_move else self.host}

        def kill(owner: str) -> bool:
            fleet = self.site.fleet
            if case.victim == "conductor":
                victim = next(one for one in fleet.conductors if one.is_running and sites.id_of(one) == owner)
            else:
                victim = fleet.agents[sides[case.victim]]
                if case.moment is Moment.BEGUN:
                    # Until it has been told, and is at it.
                    _pause.wait(_HEARD_SECONDS)
            victim.kill()
            victim.start(is_awaited=False)
            return case.victim == "conductor"

        return strikes.Striker(self.site.fleet, strikes.Place(self.server.uuid, case.step.value, case.moment), kill)

    def _until_over(self) -> str:
        """Wait until nothing is under way, and nothing owed; give the status of the server's last migration."""
        rows = "SELECT (SELECT count(*) FROM operations WHERE finished_at IS NULL), (SELECT count(*) FROM chores)"
        fleets.until(lambda: self.site.fleet.sql(rows).strip() == "0|0", "the operation to end", seconds=60)
        return str(self.site.get(f"/os-migrations?instance_uuid={self.server.uuid}")["migrations"][0]["status"])

    def _note(self, asked: str, end: str) -> None:
        """Keep what must be so now."""
        if end == "error":
            return
        if asked in struck_moves.AFTER:
            self.kept_at, self.kept_size = self.host, self.size
            self.host = self.other
            if asked == "resize":
                self.size = "big" if self.size == "small" else "small"
        elif asked == "revertResize":
            self.host, self.size = self.kept_at, self.kept_size
            self.kept_at = self.kept_size = ""
        else:
            self.kept_at = self.kept_size = ""

    def _check(self) -> None:
        """The record, the domains, the files, the disk's content and the claims are all as they must be."""
        site, server = self.site, self.server
        shown = server.shown
        status = "VERIFY_RESIZE" if self.kept_at else "ACTIVE"
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"], shown["OS-EXT-STS:task_state"]) == (status, self.host, None)
        assert shown["flavor"]["original_name"] == self.size
        places = {host.name: host.domain_state(self.name).split()[0] for host in site.lab.hosts}
        expected = {"h1": "absent", "h2": "absent", "h3": "absent", self.host: "running"} | ({self.kept_at: "shut"} if self.kept_at else {})
        assert places == expected
        for host in site.lab.hosts:
            own = births.files(host) - self.files[host.name]
            assert {path for path in own if path.endswith(".qcow2")} == ({self.path} if expected[host.name] != "absent" else set())
            assert expected[host.name] != "absent" or own == set(), f"left at {host.name}"
        self._check_disk()
        taken = {self.host: _MEMORY_MIB[self.size]}
        if self.kept_at:
            taken[self.kept_at] = _MEMORY_MIB[self.kept_size]
        assert {name: self._used(name) - before for name, before in self.used.items()} == {"h1": 0, "h2": 0} | taken

    def _check_disk(self) -> None:
        """What the guest wrote, by its own reading at its last boot; and what was written behind it."""
        said = flow.until(lambda: text if boot_image.boots(text := self.server.console()) else "", "the guest to have booted")
        assert "lost" not in boot_image.patterns(said) and boot_image.boots(said)[-1] >= self.boots - 1, said
        self.boots = boot_image.boots(said)[-1]
        where, length = _FILL
        read = self.site.lab.host(self.host).exec("qemu-io", "-r", "-U", "-f", "qcow2", "-c", f"read -P 0x5a {where} {length}", self.path)
        assert read.returncode == 0 and "verification failed" not in read.stdout + read.stderr, read

    def _used(self, name: str) -> int:
        return int(self.site.hypervisor(self.site.lab.host(name))["memory_mb_used"])


@pytest.mark.parametrize("victims", ["conductor", "agents"])
@pytest.mark.parametrize("asked", ["migrate", "resize"])
def test_killed_at_every_step(site: sites.SiteFlow, asked: str, victims: str, tell: checks.Tell) -> None:
    """Each move is struck, and so is what follows it: the way back of a migration, the confirmation of a resize."""
    chain = Chain(site)
    waiting = {each: list(struck_moves.cases(each, victims)) for each in (asked, struck_moves.AFTER[asked])}
    rows = []
    while any(waiting.values()):
        for each, rest in waiting.items():
            if each != asked and not chain.kept_at:
                # The move was refused: there is nothing to go on with.
                continue
            case = rest.pop(0) if rest else None
            try:
                end = chain.act(each, case)
            except (AssertionError, fleets.FleetError) as problem:
                raise AssertionError(f"{case}: {problem}") from problem
            if case is not None:
                assert end in case.ends, case
                rows.append(case.row(end))
    chain.end()
    tell("\n".join(rows))
