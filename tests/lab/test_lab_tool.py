# SPDX-License-Identifier: Apache-2.0
"""The lab keeps its promises: real hosts, real guests, real faults, and nothing left behind."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing
from concurrent import futures

import pytest

from wherry.testing import lab as labs
from wherry.testing.lab import cli, command, machine, payloads, processes, state

pytestmark = pytest.mark.lab


@pytest.fixture
def name(own_lab_name: str) -> str:
    return own_lab_name


def start_migration(guest: labs.Guest, source: labs.Host, destination: labs.Host, *words: str) -> subprocess.Popen[str]:
    """Start a peer-to-peer migration in a process of its own."""
    return subprocess.Popen(
        ["virsh", "-q", "-c", source.uri, "migrate", guest.name, destination.uri, "--live", "--p2p", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job(guest: labs.Guest, source: labs.Host) -> dict[str, str]:
    """The migration job's statistics, as libvirt prints them."""
    pairs = (line.partition(":") for line in source.virsh("domjobinfo", guest.name, "--rawstats").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def wait_for_copy(guest: labs.Guest, source: labs.Host) -> None:
    """Wait until memory is on its way."""

    def is_copying() -> bool:
        return int(job(guest, source).get("memory_processed", "0")) > 0

    command.wait_until(is_copying, f"the copy of {guest.name} to begin", timeout_seconds=20)


def lab_pids(lab: labs.Lab) -> list[processes.Process]:
    return [process for host in lab.hosts for process in host.namespace.processes()]


# -------------------------------------------------------------------- up and down


def test_up_makes_hosts_that_answer_and_down_leaves_nothing(name: str, tmp_path: pathlib.Path) -> None:
    lab = labs.Lab(name, tmp_path / "lab", host_count=2)
    lab.up()
    assert [host.virsh("hostname").strip() for host in lab.hosts] == ["h1", "h2"]
    assert lab.hosts[0].uuid in lab.hosts[0].virsh("capabilities")
    lab.create_guest("left-running", memory_mib=64)
    pids, uplink = lab_pids(lab), pathlib.Path("/sys/class/net") / lab.record.uplink
    assert len(pids) >= 5, "two hosts with an init and a libvirtd each, and a QEMU"
    assert uplink.exists()
    lab.down()
    assert [process for process in pids if process.is_alive] == []
    assert not uplink.exists()
    assert not (tmp_path / "lab").exists()
    assert name not in state.registered()
    lab.down()


def test_down_removes_only_what_the_lab_made(name: str, tmp_path: pathlib.Path) -> None:
    with labs.Lab(name, tmp_path / "lab", host_count=1):
        (tmp_path / "lab" / "notes.txt").write_text("mine")
    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["notes.txt"]
    with pytest.raises(labs.LabError, match="holds other files"):
        labs.Lab(name, tmp_path / "lab", host_count=1).up()


@pytest.mark.slow
def test_up_after_a_crash_removes_what_the_crash_left(name: str, tmp_path: pathlib.Path) -> None:
    lab = labs.Lab(name, tmp_path / "first", host_count=2)
    lab.up()
    lab.create_guest("lost", memory_mib=64)
    pids = lab_pids(lab)
    # Half of it dies: a supervisor and a libvirtd, and the record of the first host.
    lab.hosts[1].namespace.require_init().kill()
    lab.hosts[0].kill_libvirtd()
    again = labs.Lab(name, tmp_path / "second", host_count=1).up()
    assert [process for process in pids if process.is_alive] == []
    assert not (tmp_path / "first").exists()
    assert again.hosts[0].domains() == []
    again.down()


def test_a_lab_whose_files_were_deleted_can_be_taken_down(name: str, tmp_path: pathlib.Path) -> None:
    lab = labs.Lab(name, tmp_path / "lab", host_count=1)
    lab.up()
    pids = lab_pids(lab)
    shutil.rmtree(tmp_path / "lab")
    labs.Lab(name).down()
    assert [process for process in pids if process.is_alive] == []
    assert not (pathlib.Path("/sys/class/net") / lab.record.uplink).exists()


def test_an_interrupted_up_leaves_nothing(name: str, tmp_path: pathlib.Path) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-m", "wherry.testing.lab", "up", "--name", name, "--dir", str(tmp_path / "lab")], start_new_session=True
    )
    command.wait_until(lambda: name in state.registered(), "the lab to begin", timeout_seconds=20)
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(30) == cli.INTERRUPTED
    assert name not in state.registered()
    assert not (tmp_path / "lab").exists()


def test_hosts_outlive_the_process_that_made_them(name: str, tmp_path: pathlib.Path) -> None:
    program = (
        "import os, signal, sys; from wherry.testing import lab\n"
        "lab.Lab(sys.argv[1], sys.argv[2], host_count=1).up().create_guest('survivor', memory_mib=64, payload='dirty', range_mib=16)\n"
        "os.killpg(0, signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, name, str(tmp_path / "lab")], start_new_session=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    lab = labs.Lab.attach(name)
    guest = lab.guest("survivor")
    assert guest.state().startswith("running")
    assert guest.dirty_rate > 0
    # Its host still reaps: a QEMU that dies is gone at once, not a zombie.
    qemu = lab.hosts[0].qemu_process("survivor")
    assert qemu is not None
    qemu.kill()
    command.wait_until(lambda: not pathlib.Path(f"/proc/{qemu.pid}").exists(), "QEMU to be reaped", timeout_seconds=1)
    assert labs.take_down_orphans(name) == [name]
    assert name not in state.registered()


def test_a_lab_that_another_process_is_bringing_up_is_no_orphan(name: str, tmp_path: pathlib.Path) -> None:
    """Between its slot and its record it has no maker yet: two test processes that began at once took each other's labs down."""
    with futures.ThreadPoolExecutor(1) as pool:
        with state.locked(name):
            slot = state.register(name, tmp_path)
            asked = pool.submit(labs.take_down_orphans, name)
            with pytest.raises(futures.TimeoutError):
                asked.result(timeout=0.2)
            record = state.LabRecord(name, str(tmp_path), slot, 1)
            record.owner = state.this_process()
            record.save()
        assert asked.result(timeout=10) == []
    assert name in state.registered()
    record.owner = []
    record.save()
    assert labs.take_down_orphans(name) == [name]


@pytest.mark.slow
def test_two_labs_do_not_meet(lab: labs.Lab, name: str, tmp_path: pathlib.Path, make_guest: labs.MakeGuest) -> None:
    with labs.Lab(name, tmp_path / "other", host_count=2) as other:
        assert {host.control_address for host in other.hosts}.isdisjoint(host.control_address for host in lab.hosts)
        make_guest("same-name")
        other.create_guest("same-name", payload="dirty", range_mib=16)
        assert lab.host("h1").domains() == other.host("h1").domains() == ["same-name"]
        assert lab.host("h1").exec("ping", "-c1", "-W1", other.host("h1").control_address).returncode != 0
    assert lab.guest("same-name").state().startswith("running")


def test_bad_names_and_places_are_refused_in_one_line() -> None:
    with pytest.raises(labs.LabError, match="lab name"):
        labs.Lab("../etc")
    with pytest.raises(labs.LabError, match=r"lab directory /run/x.*choose a directory elsewhere"):
        state.check_directory(pathlib.Path("/run/x"))
    with pytest.raises(labs.LabError, match="payload 'dance': use one of idle"):
        labs.GuestSpec("g", payload="dance").check()
    with pytest.raises(labs.LabError, match="memory 32 MiB is too small: use 80 or more"):
        labs.GuestSpec("g", payload="dirty", memory_mib=32, range_mib=64).check()


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)
        assert labs.why_unavailable().startswith("the lab needs root")
        for words in (["up"], ["down"], ["status"]):
            assert cli.main(words) == 1
            assert capsys.readouterr().err.startswith("wherry lab: the lab needs root")
    if os.geteuid() == 0:
        monkeypatch.setitem(machine.REQUIRED, "no-such-program", "no-such-package")
        said = labs.why_unavailable()
        assert said.startswith("packages are missing: apt-get install")
        assert "no-such-package" in said.split()
        with pytest.raises(labs.LabUnavailable, match="no-such-package"):
            labs.Lab("never-up").up()


@pytest.mark.slow
def test_without_kvm_guests_run_under_tcg_and_the_lab_says_why(name: str, tmp_path: pathlib.Path) -> None:
    hidden = 'mount --bind /dev/null /dev/kvm && exec "$@"'
    up = [sys.executable, "-m", "wherry.testing.lab", "up", "--name", name, "--hosts", "1", "--dir", str(tmp_path / "lab")]
    done = subprocess.run(["unshare", "-m", "sh", "-c", hidden, "sh", *up], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lab = labs.Lab.attach(name)
    assert lab.accelerator == "qemu"
    assert lab.record.accelerator_reason
    guest = lab.create_guest("slow", payload="dirty", range_mib=16)
    assert "<domain type='qemu'" in lab.host("h1").virsh("dumpxml", guest.name)
    assert guest.dirty_rate > 0


# -------------------------------------------------------------------- guests


def test_guests_run_under_what_the_lab_says(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(memory_mib=64)
    qemu = lab.host("h1").qemu_process(guest.name)
    assert qemu is not None
    accelerators = {word.rpartition("=")[2] for word in qemu.command_line if word in ("kvm", "tcg", "accel=kvm", "accel=tcg")}
    assert accelerators == {"kvm" if lab.accelerator == "kvm" else "tcg"}
    assert (lab.accelerator == "kvm") == (lab.record.accelerator_reason == "")


def test_its_cpu_is_compatible_with_every_host(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest()
    description = lab.host("h1").virsh("dumpxml", guest.name)
    said = lab.host("h2").virsh("hypervisor-cpu-compare", "/dev/stdin", "--error", "--virttype", lab.accelerator, stdin=description)
    assert "incompatible" not in said


@pytest.mark.parametrize("machine", ["pc", pytest.param("q35", marks=pytest.mark.slow)])
def test_a_paced_guest_dirties_at_its_rate(make_guest: labs.MakeGuest, machine: str) -> None:
    guest = make_guest(payload="dirty", range_mib=32, rate_mib_per_s=30, machine=machine)
    assert guest.measure_dirty_rate(window_seconds=1) == pytest.approx(30, rel=0.25)


@pytest.mark.slow
def test_an_unpaced_guest_dirties_far_faster(make_guest: labs.MakeGuest) -> None:
    assert make_guest(payload="dirty", range_mib=64).dirty_rate > 60


def test_touch_fills_each_page_once_and_rests(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="touch", range_mib=32)
    beacon = guest.beacon()
    assert beacon.is_done
    assert beacon.pages == 32 * payloads.PAGES_PER_MIB
    assert guest.dirty_rate == 0
    words = [
        lab.host("h1").virsh("qemu-monitor-command", guest.name, "--hmp", f"xp /1xw {payloads.REGION_ADDRESS + n * 4096:#x}")
        for n in (1, 8191)
    ]
    assert len({word.split()[1] for word in words}) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"accelerator": "qemu"}, {"vcpus": 2, "machine": "q35"}, {"bridge": "lab0"}, {"persistent": True}], ids=str
)
def test_guests_of_many_kinds_migrate(lab: labs.Lab, make_guest: labs.MakeGuest, options: dict[str, typing.Any]) -> None:
    guest = make_guest(payload="counter", range_mib=16, rate_mib_per_s=10, **options)
    extra = ["--persistent", "--undefinesource"] if guest.spec.persistent else []
    lab.host("h1").virsh("migrate", guest.name, lab.host("h2").uri, "--live", "--p2p", *extra)
    assert guest.where(active_only=False) == ["h2"]
    assert guest.dirty_rate > 0


def test_a_paused_guest_has_not_begun(make_guest: labs.MakeGuest) -> None:
    guest = make_guest(paused=True)
    assert guest.state().startswith("paused")
    assert not guest.beacon().is_lit


@pytest.mark.slow
def test_shared_and_private_disks(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    shared = make_guest("on-shared", disk="shared", disk_format="qcow2", disk_mib=8)
    private = make_guest("on-private", disk="private", disk_mib=8)
    seen = {host.name: host.exec("test", "-e", "/var/lib/libvirt/images/on-private.raw").returncode == 0 for host in lab.hosts}
    assert seen == {"h1": True, "h2": False, "h3": False}
    # Libvirt judges by the kind of file system, and this one is local: it takes our word that both hosts see it.
    lab.host("h1").virsh("migrate", shared.name, lab.host("h2").uri, "--live", "--p2p", "--unsafe")
    assert shared.where() == ["h2"]
    lab.host("h2").exec("truncate", "-s", "8M", "/var/lib/libvirt/images/on-private.raw")
    lab.host("h1").virsh("migrate", private.name, lab.host("h2").uri, "--live", "--p2p", "--copy-storage-all")
    assert private.where() == ["h2"]
    for guest in (shared, private):
        guest.destroy()
    assert list(lab.shared_directory.iterdir()) == []
    assert not any((host.private_images / "on-private.raw").exists() for host in lab.hosts)


# -------------------------------------------------------------------- migrations and faults


@pytest.mark.slow
def test_an_idle_guest_migrates_over_the_migration_network(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(memory_mib=512)
    source, destination = lab.host("h1"), lab.host("h2")
    counter = ["cat", "/sys/class/net/migration/statistics/rx_bytes"]
    before = int(destination.exec(*counter).stdout)
    begun = time.monotonic()
    source.virsh("migrate", guest.name, destination.uri, "--live", "--p2p")
    took_seconds = time.monotonic() - begun
    assert guest.where() == ["h2"]
    assert source.domain_state(guest.name) == "absent"
    assert int(destination.exec(*counter).stdout) - before > 1_000_000
    assert took_seconds < 5, "its host reaps QEMU at once"


def test_memory_survives_a_migration_page_by_page(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="counter", range_mib=32, rate_mib_per_s=40)
    passes = guest.beacon().passes
    lab.host("h1").virsh("migrate", guest.name, lab.host("h3").uri, "--live", "--p2p")
    command.wait_until(lambda: guest.beacon().passes >= passes + 2, "a full pass at the destination", timeout_seconds=20)
    guest.check_memory()
    assert guest.check_memory_dump() >= passes + 1
    # The check can fail: a page changed from outside is found within a pass.
    place = lab.host("h3")
    qemu = place.qemu_process(guest.name)
    assert qemu is not None
    corrupt_page(qemu, index=100, pages=32 * payloads.PAGES_PER_MIB)
    command.wait_until(lambda: guest.beacon().errors > 0, "the guest to find its bad page", timeout_seconds=20)
    with pytest.raises(labs.LabError, match="1 wrong pages, the first with index 100"):
        guest.check_memory()


def corrupt_page(qemu: processes.Process, *, index: int, pages: int) -> None:
    """Change one page of a guest's memory behind its back, through the QEMU process that holds it."""
    maps = pathlib.Path(f"/proc/{qemu.pid}/maps").read_text().splitlines()
    ranges = [tuple(int(word, 16) for word in line.split()[0].split("-")) for line in maps]
    (ram,) = [start for start, end in ranges if end - start == 128 << 20]
    with pathlib.Path(f"/proc/{qemu.pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(ram + payloads.REGION_ADDRESS + index * payloads.PAGE_BYTES + 4)
        memory.write((pages + 1).to_bytes(4, "little"))


@pytest.mark.slow
def test_a_cut_link_freezes_the_copy_and_a_restored_one_lets_it_end(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="touch", memory_mib=256, range_mib=128)
    source, destination = lab.host("h1"), lab.host("h2")
    source.migration_link.shape(mib_per_s=20)
    with start_migration(guest, source, destination) as migration:
        wait_for_copy(guest, source)
        source.cut_migration_link()
        assert source.migration_link.is_cut
        command.pause(1)
        remaining = job(guest, source)["memory_remaining"]
        command.pause(1)
        assert job(guest, source)["memory_remaining"] == remaining
        assert migration.poll() is None
        assert guest.state(source).startswith("running")
        source.restore_migration_link()
        assert migration.wait(60) == 0
    assert guest.where() == ["h2"]


@pytest.mark.slow
def test_a_limited_link_sets_the_pace(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="touch", memory_mib=128, range_mib=64)
    source, destination = lab.host("h2"), lab.host("h3")
    destination.migration_link.shape(mib_per_s=32)
    assert "tbf" in destination.migration_link.shaping
    begun = time.monotonic()
    lab.host("h1").virsh("migrate", guest.name, destination.uri, "--live", "--p2p")
    assert 1.5 < time.monotonic() - begun < 6, "64 MiB at 32 MiB/s"
    destination.restore_migration_link()
    assert destination.migration_link.shaping == ""
    begun = time.monotonic()
    destination.virsh("migrate", guest.name, source.uri, "--live", "--p2p")
    assert time.monotonic() - begun < 1.5


@pytest.mark.slow
def test_a_broken_post_copy_can_be_resumed(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="counter", memory_mib=256, range_mib=192, rate_mib_per_s=100)
    source, destination = lab.host("h1"), lab.host("h2")
    flags = ["--postcopy", "--postcopy-bandwidth", "20"]
    command.wait_until(lambda: guest.beacon().passes > 0, "all pages to be written once", timeout_seconds=20)
    source.migration_link.shape(mib_per_s=40)
    with start_migration(guest, source, destination, *flags) as migration:
        wait_for_copy(guest, source)
        assert guest.measure_dirty_rate(source) > 0, "the beacon can be read while it migrates"
        source.virsh("migrate-postcopy", guest.name)
        command.wait_until(lambda: destination.domain_state(guest.name).startswith("running"), "the switch", timeout_seconds=20)
        assert source.break_migration_sockets(destination) > 0
        assert migration.wait(20) != 0
    assert source.domain_state(guest.name) == "paused (post-copy failed)"
    assert destination.domain_state(guest.name) == "running (post-copy failed)"
    source.migration_link.restore()
    source.virsh("migrate", guest.name, destination.uri, "--live", "--p2p", "--postcopy", "--postcopy-resume")
    assert guest.where() == ["h2"]
    passes = guest.beacon().passes
    command.wait_until(lambda: guest.beacon().passes >= passes + 2, "a full pass at the destination", timeout_seconds=20)
    guest.check_memory()


@pytest.mark.slow
def test_closed_sockets_end_a_copy_at_once(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="touch", memory_mib=256, range_mib=128)
    source, destination = lab.host("h1"), lab.host("h2")
    source.migration_link.shape(mib_per_s=20)
    with start_migration(guest, source, destination) as migration:
        wait_for_copy(guest, source)
        assert source.break_migration_sockets(destination) == 1
        assert migration.wait(10) != 0
    assert guest.where() == ["h1"]
    assert guest.state().startswith("running")


def test_a_silenced_libvirtd_hears_but_is_not_heard(lab: labs.Lab) -> None:
    host, other = lab.host("h2"), lab.host("h3")
    host.silence_libvirtd(towards=other)
    virsh = ["virsh", "-q", "-k", "1", "-K", "1", "-c", host.uri, "hostname"]
    assert host.virsh("hostname").strip() == "h2", "only the other host is kept from hearing it"
    with pytest.raises(labs.LabError):
        command.run(other.namespace.enter(virsh), timeout_seconds=1)
    host.silence_libvirtd()
    assert host.is_silenced
    with pytest.raises(labs.LabError):
        command.run(virsh, timeout_seconds=1)
    host.unsilence_libvirtd()
    assert command.run(other.namespace.enter(virsh)).strip() == "h2"


@pytest.mark.slow
def test_a_killed_libvirtd_comes_back_and_finds_its_guest(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(payload="dirty", range_mib=16, rate_mib_per_s=10)
    host = lab.host("h1")
    before = host.libvirtd_pid
    host.kill_libvirtd()
    is_gone = host.libvirtd_pid is None
    assert is_gone
    with pytest.raises(labs.CommandFailed):
        host.virsh("list")
    host.restart_libvirtd()
    assert host.libvirtd_pid not in (None, before)
    assert guest.state().startswith("running")
    assert guest.dirty_rate > 0


@pytest.mark.slow
def test_a_killed_libvirtd_can_be_started_in_the_same_moment(lab: labs.Lab) -> None:
    """Its last thread may still be there when its process counts as dead."""
    host = lab.host("h1")
    for _ in range(10):
        host.restart_libvirtd()


def test_a_stopped_libvirtd_answers_when_it_is_continued(lab: labs.Lab) -> None:
    host = lab.host("h1")
    host.stop_libvirtd()
    with pytest.raises(labs.LabError, match="did not end within 1 s"):
        host.virsh("hostname", timeout_seconds=1)
    host.continue_libvirtd()
    assert host.virsh("hostname").strip() == "h1"


def test_a_host_that_lost_power_comes_back_with_its_definitions(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    guest = make_guest(host="h3", persistent=True)
    host = lab.host("h3")
    host.power_off()
    assert not host.is_up
    host.up()
    assert guest.where() == []
    assert host.domain_state(guest.name).startswith("shut off")


def test_a_distance_is_added_to_each_round_trip(lab: labs.Lab) -> None:
    host = lab.host("h1")

    def virsh_seconds(uri: str) -> float:
        begun = time.monotonic()
        command.run(["virsh", "-q", "-c", uri, "hostname"])
        return time.monotonic() - begun

    near = min(virsh_seconds(host.uri) for _ in range(3))
    try:
        lab.set_control_delay(60)
        far = min(virsh_seconds(host.control_uri) for _ in range(3))
        # At least opening, asking and closing are round trips.
        assert far > near + 0.18
        lab.set_control_delay(0)
        assert min(virsh_seconds(host.control_uri) for _ in range(3)) < near + 0.1
    finally:
        lab.set_control_delay(0)


# -------------------------------------------------------------------- the command


def test_the_command_does_what_its_help_says(name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    def wherry_lab(*words: str, status: int = 0) -> str:
        found = cli.main(
            [words[0], *words[1:2], "--name", name, *words[2:]] if words[0] in ("guest", "link") else [words[0], "--name", name, *words[1:]]
        )
        captured = capsys.readouterr()
        assert found == status, captured
        return captured.out + captured.err

    assert "is up" in wherry_lab("status", status=1)
    wherry_lab("up", "--hosts", "2", "--dir", str(tmp_path / "lab"))
    assert "say --replace" in wherry_lab("up", status=1)
    assert "running" in wherry_lab("guest", "create", "one", "--payload", "dirty", "--range-mib", "16", "--rate-mib-per-s", "5")
    wherry_lab("guest", "wait", "one")
    (listed,) = json.loads(wherry_lab("guest", "list", "--json"))
    assert (listed["name"], listed["hosts"]) == ("one", ["h1"])
    wherry_lab("link", "cut", "h2")
    wherry_lab("link", "limit", "h1", "10")
    wherry_lab("libvirtd", "stop", "h2")
    described = json.loads(wherry_lab("status", "--json"))
    assert described["accelerator"] in ("kvm", "qemu")
    assert [host["migration_link"] == "cut" for host in described["hosts"]] == [False, True]
    assert "tbf" in described["hosts"][0]["migration_link"]
    assert [host["libvirtd"] for host in described["hosts"]] == ["running", "stopped"]
    assert described["hosts"][0]["guests"]["one"].startswith("running")
    wherry_lab("heal", "h2")
    wherry_lab("link", "restore", "h1")
    assert "cut" not in wherry_lab("status")
    assert wherry_lab("exec", "h2", "--", "test", "--name", "=", "--name") == ""
    assert "after --" in wherry_lab("exec", "h2", status=1)
    assert wherry_lab("exec", "h2", "--", "sh", "-c", "exit 7", status=7) == ""
    wherry_lab("guest", "destroy", "one")
    assert "made no guest 'one'" in wherry_lab("guest", "wait", "one", status=1)
    wherry_lab("down")
    assert name not in state.registered()
