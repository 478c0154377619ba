# SPDX-License-Identifier: Apache-2.0
"""A whole lab: several libvirt hosts on this machine, brought up, found again and taken down.

Must not leave anything behind: `down` works from any process, after any crash, any number of times.
"""

from __future__ import annotations

import collections.abc
import concurrent.futures
import contextlib
import pathlib
import re
import shutil
import types
import typing

from wherry.testing.lab import delay, errors, machine, namespace, network, state
from wherry.testing.lab import guest as lab_guest
from wherry.testing.lab import host as lab_host

#: What a lab's directory holds; nothing else in it is ever removed.
CONTENTS = ("guests", "hosts", "payloads", "relay.json", "relay.log", "shared", "switch", "lab.json")


class MakeGuest(typing.Protocol):
    """What the tests' fixture of this name is: start a guest that is removed after the test; the options are those of GuestSpec."""

    def __call__(self, name: str = "", host: lab_host.Host | str = "h1", **options: typing.Any) -> lab_guest.Guest: ...


class Lab:
    """A lab by name. As a context manager it is up inside and down after."""

    def __init__(
        self,
        name: str = state.DEFAULT_NAME,
        directory: pathlib.Path | str | None = None,
        *,
        host_count: int = state.DEFAULT_HOST_COUNT,
        control_delay_ms: float = 0,
        address_prefix: str = state.DEFAULT_ADDRESS_PREFIX,
        peer_silence_seconds: int | None = None,
    ) -> None:
        state.check_name(name)
        if not 1 <= host_count <= state.MAX_HOST_COUNT:
            raise errors.LabError(f"{host_count} hosts: use 1 to {state.MAX_HOST_COUNT}")
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}", address_prefix):
            raise errors.LabError(f"address prefix {address_prefix!r}: use the first two numbers of a private /16, as in 10.213")
        if control_delay_ms < 0:
            raise errors.LabError(f"control delay {control_delay_ms} ms: use 0 or more")
        if peer_silence_seconds is not None and (peer_silence_seconds < 3 or peer_silence_seconds % 3):
            # It is libvirt's interval times one more than its count, which is two here.
            raise errors.LabError(f"peer silence {peer_silence_seconds} s: use a multiple of 3")
        self.name = name
        self.directory = pathlib.Path(directory or state.DEFAULT_DIRECTORY / name).absolute()
        self._host_count = host_count
        self._control_delay_ms = control_delay_ms
        self._address_prefix = address_prefix
        self._peer_silence_seconds = peer_silence_seconds
        self._record: state.LabRecord | None = None
        self._hosts: list[lab_host.Host] = []

    @classmethod
    def attach(cls, name: str = state.DEFAULT_NAME) -> Lab:
        """Find a lab that is up.

        :raises LabError: there is none of this name.
        """
        machine.require_root()
        known = state.registered()
        record = state.load(known[name][0]) if name in known else None
        if record is None or not record.is_complete:
            raise errors.LabError(f"no lab {name!r} is up{_but(known)}: `wherry lab up --name {name}` makes it")
        lab = cls(name, record.directory, host_count=record.host_count)
        lab._adopt(record)
        return lab

    # ---------------------------------------------------------------- up and down

    def up(self) -> Lab:
        """Bring the lab up, from nothing: what an earlier one of this name left is removed first, also if it runs.

        On failure nothing of it stays.
        """
        machine.require()
        with state.locked(self.name):
            # The directory may be another one than last time: the old lab is found by its name.
            self._take_down()
            self._bring_up()
        return self

    def _bring_up(self) -> None:
        state.check_directory(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("guests", "hosts", "payloads", "shared"):
            (self.directory / name).mkdir(exist_ok=True)
        slot = state.register(self.name, self.directory)
        record = state.LabRecord(self.name, str(self.directory), slot, self._host_count, address_prefix=self._address_prefix)
        record.peer_silence_seconds = self._peer_silence_seconds
        record.owner = state.this_process()
        record.save()
        try:
            self._adopt(record)
            self._start(record)
        except BaseException:
            self._take_down()
            raise

    def _start(self, record: state.LabRecord) -> None:
        accelerator = machine.probe_accelerator(self.directory / "payloads")
        record.accelerator, record.accelerator_reason = accelerator.kind, accelerator.reason
        record.missing_features = list(accelerator.missing_features)
        lines = ["127.0.0.1 localhost", *(f"{each.control_address} {each.name}" for each in self._hosts)]
        lines += [f"{each.migration_address} {each.name}-migration" for each in self._hosts]
        (self.directory / "hosts" / "hosts").write_text("\n".join(lines) + "\n")
        switch = network.Switch(record)
        switch.up()
        record.delay_by = "netem" if switch.has_netem() else "relay"
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            for started in [pool.submit(each.up) for each in self._hosts]:
                started.result()
        if self._control_delay_ms:
            record.control_delay_ms = {each.name: self._control_delay_ms for each in self._hosts}
            delay.apply(record, switch, self._hosts)
        record.is_complete = True
        record.save()

    def down(self) -> None:
        """Take the lab down: guests, hosts, networks, files. Nothing happens if it is not up."""
        machine.require_root()
        with state.locked(self.name):
            self._take_down()

    def down_if_orphan(self) -> bool:
        """Take the lab down if its maker is gone, and say whether it was.

        One without a record may be coming up just now, by a maker who is alive: that is known once its lock is free.
        """
        machine.require_root()
        with state.locked(self.name):
            known = state.registered().get(self.name)
            is_orphan = known is not None and _is_orphan(known[0])
            if is_orphan:
                self._take_down()
        return is_orphan

    def _take_down(self) -> None:
        directories = {self.directory}
        known = state.registered().get(self.name)
        if known:
            directories.add(known[0])
        namespace.kill_all((state.REGISTRY / self.name).glob("*.pid"))
        for directory in directories:
            record = state.load(directory)
            if record is not None and record.name == self.name:
                _remove_files(directory)
        if known:
            network.remove_uplink(state.LabRecord(self.name, str(self.directory), known[1], 1))
            state.unregister(self.name)
        self._record, self._hosts = None, []

    def __enter__(self) -> typing.Self:
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: types.TracebackType | None) -> None:
        self.down()

    # ---------------------------------------------------------------- what it holds

    @property
    def record(self) -> state.LabRecord:
        """The facts that are kept on disk.

        :raises LabError: the lab is not up.
        """
        if self._record is None:
            raise errors.LabError(f"lab {self.name} is down: call up() first, or Lab.attach({self.name!r}) if another process did")
        return self._record

    @property
    def hosts(self) -> list[lab_host.Host]:
        """All hosts, h1 first."""
        self.record  # noqa: B018 - raises if the lab is down
        return self._hosts

    def host(self, name: str) -> lab_host.Host:
        """Return a host by name."""
        for each in self.hosts:
            if each.name == name:
                return each
        raise errors.LabError(f"lab {self.name} has no host {name!r}: it has {', '.join(each.name for each in self.hosts)}")

    @property
    def accelerator(self) -> str:
        """The domain type of the guests: kvm, or qemu where KVM does not work."""
        return self.record.accelerator

    @property
    def shared_directory(self) -> pathlib.Path:
        """A directory that all hosts see at this path."""
        return self.directory / "shared"

    def set_control_delay(self, delay_ms: float, hosts: collections.abc.Sequence[lab_host.Host] | None = None) -> None:
        """Set the round trip between the control plane and hosts; `control_uri` of these hosts may change by it.

        :raises LabError: netem is used, and the hosts are not all of the lab's.
        """
        chosen = list(hosts or self.hosts)
        if self.record.delay_by == "netem" and len(chosen) != len(self.hosts):
            raise errors.LabError("netem delays the machine's one link to all hosts: set the delay for all of them")
        self.record.control_delay_ms.update({each.name: delay_ms for each in chosen})
        self.record.save()
        delay.apply(self.record, network.Switch(self.record), self._hosts)

    # ---------------------------------------------------------------- guests

    def create_guest(self, name: str, host: lab_host.Host | str = "h1", **options: typing.Any) -> lab_guest.Guest:
        """Start a guest and return when its payload runs; the options are the fields of GuestSpec.

        On failure nothing of it stays.
        """
        place = self.host(host) if isinstance(host, str) else host
        spec = lab_guest.GuestSpec(name=name, **options)
        spec.check()
        if (self.directory / "guests" / f"{name}.json").exists():
            raise errors.LabError(f"lab {self.name} has a guest {name!r} already: destroy it first or choose another name")
        made = lab_guest.Guest(self.record, self._hosts, spec)
        try:
            made.start(place)
        except BaseException:
            with contextlib.suppress(errors.LabError):
                made.destroy()
            raise
        return made

    def guest(self, name: str) -> lab_guest.Guest:
        """Return a guest that the lab made."""
        return lab_guest.Guest(self.record, self._hosts, lab_guest.load_spec(self.record, name))

    @property
    def guests(self) -> list[lab_guest.Guest]:
        """All guests that the lab made and that were not destroyed through it."""
        return [self.guest(path.stem) for path in sorted((self.record.path / "guests").glob("*.json"))]

    def _adopt(self, record: state.LabRecord) -> None:
        switch = network.Switch(record)
        self._record = record
        self._hosts = [lab_host.Host(record, switch, number) for number in range(1, record.host_count + 1)]


def take_down_orphans(prefix: str) -> list[str]:
    """Take down labs whose names begin so and whose maker is gone; return their names."""
    taken = []
    for name, (directory, _) in state.registered().items():
        if name.startswith(prefix) and _is_orphan(directory) and Lab(name, directory).down_if_orphan():
            taken.append(name)
    return taken


def _is_orphan(directory: pathlib.Path) -> bool:
    record = state.load(directory)
    return record is None or state.is_orphan(record)


def _remove_files(directory: pathlib.Path) -> None:
    for name in CONTENTS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


def _but(known: dict[str, tuple[pathlib.Path, int]]) -> str:
    return f" (up: {', '.join(sorted(known))})" if known else ""
