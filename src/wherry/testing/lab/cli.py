# SPDX-License-Identifier: Apache-2.0
"""The `wherry lab` command.

Must not do anything that the Python API cannot.
"""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import json
import subprocess
import sys
import typing

from wherry.testing.lab import errors, guest, host, lab, payloads, state

Handler = collections.abc.Callable[[argparse.Namespace], int]

#: Status of a command that Ctrl-C ended, as a shell has it.
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its status."""
    words = sys.argv[1:] if argv is None else argv
    # What stands after -- is another program's command line, and its options are none of ours.
    split = words.index("--") if "--" in words else len(words)
    options = parser().parse_args(words[:split])
    options.argv = words[split + 1 :]
    handler: Handler = options.handler
    try:
        return handler(options)
    except errors.LabError as problem:
        print(f"wherry lab: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("wherry lab: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="wherry lab", description="Several libvirt hosts on this machine, in namespaces, with real guests.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=state.DEFAULT_NAME, help="which lab; several may be up at once (default: %(default)s)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    up = _command(commands, common, "up", "bring a lab up", _up)
    up.add_argument("--hosts", type=int, default=state.DEFAULT_HOST_COUNT, metavar="N", help="how many hosts (default: %(default)s)")
    up.add_argument("--dir", metavar="D", help=f"where its files go (default: {state.DEFAULT_DIRECTORY}/NAME)")
    up.add_argument("--control-delay-ms", type=float, default=0, metavar="MS", help="round trip from the control plane to a host")
    prefix = state.DEFAULT_ADDRESS_PREFIX
    up.add_argument("--address-prefix", default=prefix, metavar="A.B", help="the /16 of its addresses (default: %(default)s)")
    up.add_argument("--replace", action="store_true", help="take a running lab of this name down first, with its guests")
    _command(commands, common, "down", "take a lab down, with its guests and files", _down)
    status = _command(commands, common, "status", "show hosts, guests and faults", _status)
    status.add_argument("--json", action="store_true", help="for programs")
    execute = _command(commands, common, "exec", "run a program on a host; its command line follows --", _exec)
    execute.usage = "wherry lab exec [--name NAME] HOST -- CMD..."
    execute.add_argument("host", metavar="HOST")
    _guest_commands(_group(commands, "guest", "guests"), common)
    _link_commands(_group(commands, "link", "the hosts' network links"), common)
    daemon = _command(commands, common, "libvirtd", "stop (SIGSTOP), continue, kill (SIGKILL) or restart a host's libvirtd", _libvirtd)
    daemon.add_argument("action", choices=["stop", "continue", "kill", "restart"])
    daemon.add_argument("host", metavar="HOST")
    silence = _command(commands, common, "silence", "drop what a host's libvirtd sends", _silence)
    silence.add_argument("host", metavar="HOST")
    silence.add_argument("--towards", metavar="HOST", help="only what it sends to this host")
    silence.add_argument("--off", action="store_true", help="let it be heard again")
    sockets = _command(commands, common, "kill-socket", "close the migration connections of a host's QEMU at once", _kill_socket)
    sockets.add_argument("host", metavar="HOST")
    sockets.add_argument("--towards", metavar="HOST", help="only those to this host")
    heal = _command(commands, common, "heal", "undo every fault of a host", _heal)
    heal.add_argument("host", metavar="HOST")
    return top


def _group(commands: typing.Any, name: str, what: str) -> typing.Any:
    return commands.add_parser(name, help=what, description=what).add_subparsers(required=True, metavar="ACTION")


def _command(commands: typing.Any, common: argparse.ArgumentParser, name: str, what: str, handler: Handler) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what, parents=[common])
    made.set_defaults(handler=handler)
    return made


def _guest_commands(actions: typing.Any, common: argparse.ArgumentParser) -> None:
    create = _command(actions, common, "create", "start a guest and wait until its payload runs", _guest_create)
    create.add_argument("guest", metavar="NAME")
    create.add_argument("--host", default="h1", metavar="HOST")
    what = "; ".join(f"{kind}: {meaning}" for kind, meaning in payloads.KINDS.items())
    create.add_argument("--payload", default="idle", choices=list(payloads.KINDS), help=f"{what} (default: %(default)s)")
    defaults = {field.name: field.default for field in dataclasses.fields(guest.GuestSpec)}
    for option, kind, help_text in (
        ("memory_mib", int, "memory"),
        ("vcpus", int, "virtual processors"),
        ("range_mib", int, "what dirty, touch and counter write"),
        ("rate_mib_per_s", float, "how fast dirty and counter write; 0 is as fast as they can"),
        ("disk_mib", int, "size of the disk"),
    ):
        create.add_argument(
            f"--{option.replace('_', '-')}", type=kind, default=defaults[option], metavar="N", help=f"{help_text} (%(default)s)"
        )
    create.add_argument("--disk", default="none", choices=guest.DISKS, help="shared: a file all hosts see; private: each its own")
    create.add_argument("--disk-format", default="raw", choices=guest.DISK_FORMATS)
    create.add_argument("--machine", default="pc", choices=guest.MACHINES)
    create.add_argument("--bridge", default="", metavar="B", help="bridge for a network card; each host has lab0 (default: no card)")
    create.add_argument("--persistent", action="store_true", help="keep its definition when it is off")
    create.add_argument("--paused", action="store_true", help="do not let it run yet")
    listing = _command(actions, common, "list", "show all guests", _guest_list)
    listing.add_argument("--json", action="store_true", help="for programs")
    destroy = _command(actions, common, "destroy", "remove a guest and its disks from all hosts", _guest_destroy)
    destroy.add_argument("guest", metavar="NAME")
    wait = _command(actions, common, "wait", "wait until a guest's payload runs", _guest_wait)
    wait.add_argument("guest", metavar="NAME")


def _link_commands(actions: typing.Any, common: argparse.ArgumentParser) -> None:
    for name, what, handler in (
        ("cut", "pull a host's cable: connections stall", _link_cut),
        ("restore", "plug it in again, without limits and delays", _link_restore),
        ("limit", "limit its bandwidth in both directions", _link_limit),
        ("delay", "add to its round trip; on the control link that to the control plane", _link_delay),
    ):
        made = _command(actions, common, name, what, handler)
        made.add_argument("host", metavar="HOST")
        made.add_argument("--network", default="migration", choices=["control", "migration"], help="(default: %(default)s)")
        if name == "limit":
            made.add_argument("mib_per_s", type=float, metavar="MIB_PER_S", help="0 takes the limit off")
        if name == "delay":
            made.add_argument("delay_ms", type=float, metavar="MS", help="0 takes the delay off")


# -------------------------------------------------------------------- the lab


def _up(options: argparse.Namespace) -> int:
    known = state.registered().get(options.name)
    record = state.load(known[0]) if known else None
    if record is not None and record.is_complete and not options.replace:
        running = lab.Lab.attach(options.name)
        if all(each.is_up for each in running.hosts):
            raise errors.LabError(f"lab {options.name!r} is up with {record.host_count} hosts: take it down first, or say --replace")
    made = lab.Lab(
        options.name,
        options.dir,
        host_count=options.hosts,
        control_delay_ms=options.control_delay_ms,
        address_prefix=options.address_prefix,
    )
    made.up()
    _show(_describe(made))
    return 0


def _down(options: argparse.Namespace) -> int:
    lab.Lab(options.name).down()
    return 0


def _status(options: argparse.Namespace) -> int:
    described = _describe(lab.Lab.attach(options.name))
    if options.json:
        print(json.dumps(described, indent=2))
    else:
        _show(described)
    return 0 if all(each["is_up"] for each in described["hosts"]) else 1


def _exec(options: argparse.Namespace) -> int:
    if not options.argv:
        raise errors.LabError("exec: name a program after --, as in `wherry lab exec h1 -- virsh list`")
    place = _host(options)
    return subprocess.run(place.namespace.enter(options.argv), check=False).returncode


def _describe(which: lab.Lab) -> dict[str, typing.Any]:
    record = which.record
    return {
        "name": record.name,
        "directory": record.directory,
        "accelerator": record.accelerator,
        "accelerator_reason": record.accelerator_reason,
        "cpu_features_left_out": record.missing_features,
        "delay_by": record.delay_by,
        "hosts": [_describe_host(record, each) for each in which.hosts],
    }


def _describe_host(record: state.LabRecord, each: host.Host) -> dict[str, typing.Any]:
    described: dict[str, typing.Any] = {
        "name": each.name,
        "is_up": each.is_up,
        "uuid": each.uuid,
        "uri": each.uri,
        "control_uri": each.control_uri,
        "control_address": each.control_address,
        "migration_address": each.migration_address,
        "control_delay_ms": record.control_delay_ms.get(each.name, 0),
    }
    if not each.is_up:
        return described
    daemon = each.libvirtd
    described["libvirtd"] = "dead" if daemon is None else "stopped" if daemon.is_stopped else "running"
    described["libvirtd_pid"] = daemon.pid if daemon else None
    described["is_silenced"] = each.is_silenced
    for link in (each.control_link, each.migration_link):
        described[f"{link.network}_link"] = "cut" if link.is_cut else link.shaping or "up"
    can_answer = described["libvirtd"] == "running" and not each.is_silenced and described["control_link"] != "cut"
    described["guests"] = {name: each.domain_state(name) for name in each.domains()} if can_answer else None
    return described


def _show(described: dict[str, typing.Any]) -> None:
    reason = f" ({described['accelerator_reason']})" if described["accelerator_reason"] else ""
    how = f"guests run under {described['accelerator']}{reason}, delays by {described['delay_by']}"
    print(f"lab {described['name']} in {described['directory']}, {how}")
    for each in described["hosts"]:
        if not each["is_up"]:
            print(f"{each['name']}  down")
            continue
        faults = [f"libvirtd {each['libvirtd']}"] if each["libvirtd"] != "running" else []
        faults += ["silenced"] if each["is_silenced"] else []
        faults += [f"{network} link: {each[network + '_link']}" for network in ("control", "migration") if each[network + "_link"] != "up"]
        faults += [f"{each['control_delay_ms']:g} ms away"] if each["control_delay_ms"] else []
        print(f"{each['name']}  {each['control_uri']}  migration {each['migration_address']}  {', '.join(faults)}".rstrip())
        for name, word in (each["guests"] or {}).items():
            print(f"    {name}  {word}")


# -------------------------------------------------------------------- guests


def _guest_create(options: argparse.Namespace) -> int:
    fields = {field.name for field in dataclasses.fields(guest.GuestSpec)} - {"name"}
    chosen = {key: value for key, value in vars(options).items() if key in fields}
    made = lab.Lab.attach(options.name).create_guest(options.guest, options.host, **chosen)
    print(f"{made.name}  {made.uuid}  {options.host}  {made.state()}")
    return 0


def _guest_list(options: argparse.Namespace) -> int:
    guests = lab.Lab.attach(options.name).guests
    found = [{"name": each.name, "uuid": each.uuid, "payload": each.spec.payload, "hosts": each.where()} for each in guests]
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for each in found:
        print(f"{each['name']}  {each['uuid']}  {each['payload']}  {', '.join(each['hosts']) or 'off'}")
    return 0


def _guest_destroy(options: argparse.Namespace) -> int:
    lab.Lab.attach(options.name).guest(options.guest).destroy()
    return 0


def _guest_wait(options: argparse.Namespace) -> int:
    lab.Lab.attach(options.name).guest(options.guest).wait_for_payload()
    return 0


# -------------------------------------------------------------------- faults


def _host(options: argparse.Namespace) -> host.Host:
    return lab.Lab.attach(options.name).host(options.host)


def _towards(options: argparse.Namespace) -> host.Host | None:
    return lab.Lab.attach(options.name).host(options.towards) if options.towards else None


def _link_cut(options: argparse.Namespace) -> int:
    _host(options).link(options.network).cut()
    return 0


def _link_restore(options: argparse.Namespace) -> int:
    _host(options).link(options.network).restore()
    return 0


def _link_limit(options: argparse.Namespace) -> int:
    _host(options).link(options.network).shape(mib_per_s=options.mib_per_s)
    return 0


def _link_delay(options: argparse.Namespace) -> int:
    which = lab.Lab.attach(options.name)
    place = which.host(options.host)
    if options.network == "control":
        which.set_control_delay(options.delay_ms, [place])
        print(f"{place.name} is {options.delay_ms:g} ms away at {place.control_uri} (by {which.record.delay_by})")
    else:
        place.migration_link.shape(delay_ms=options.delay_ms)
    return 0


def _libvirtd(options: argparse.Namespace) -> int:
    place = _host(options)
    actions = {
        "stop": place.stop_libvirtd,
        "continue": place.continue_libvirtd,
        "kill": place.kill_libvirtd,
        "restart": place.restart_libvirtd,
    }
    actions[options.action]()
    return 0


def _silence(options: argparse.Namespace) -> int:
    if options.off:
        _host(options).unsilence_libvirtd()
    else:
        _host(options).silence_libvirtd(_towards(options))
    return 0


def _kill_socket(options: argparse.Namespace) -> int:
    print(f"{_host(options).break_migration_sockets(_towards(options))} closed")
    return 0


def _heal(options: argparse.Namespace) -> int:
    _host(options).heal()
    return 0
