# SPDX-License-Identifier: Apache-2.0
"""Scenario files: a fleet in YAML, checked against records that say what may stand where.

Reads and checks only; `building` makes the world.
"""

from __future__ import annotations

import difflib
import importlib.resources
import pathlib
from typing import Annotated, Any, Literal

import pydantic
import yaml

from wherry import errors
from wherry.drivers.simulated import faults, fleet, profiles

#: The scenario that is used when none is named.
DEFAULT_SCENARIO = "demo"


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _own_directory() -> dict[str, str | int]:
    return {fleet.DEFAULT_DIRECTORY: 1024}


#: One value for all, or a list from which the seed draws one for each.
Numbers = Annotated[tuple[Annotated[float, pydantic.Field(ge=0)], ...], pydantic.BeforeValidator(_listed), pydantic.Field(min_length=1)]
Integers = Annotated[tuple[Annotated[int, pydantic.Field(ge=1)], ...], pydantic.BeforeValidator(_listed), pydantic.Field(min_length=1)]
Names = Annotated[tuple[str, ...], pydantic.BeforeValidator(_listed)]


class Part(pydantic.BaseModel):
    """Root of the parts of a scenario: a word that is not known is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, defer_build=True)


class StorePart(Part):
    """Storage that hosts mount by its name."""

    capacity_gib: int = pydantic.Field(10_000, ge=1)
    coherent: bool = True
    locks: bool = True


class HostPart(Part):
    """One host, or `count` alike."""

    #: With {n}, the number from 1 on, as in "host-{n:03}", where count is above 1.
    name: str
    count: int = pydantic.Field(1, ge=1, le=100_000)
    profile: str = profiles.LIBVIRT.name
    vcpus: int = pydantic.Field(64, ge=1)
    memory_mib: int = pydantic.Field(262_144, ge=1)
    cpu_level: int = pydantic.Field(1, ge=1)
    hypervisor_version: int = pydantic.Field(7_002_000, ge=1)
    machine_types: Names = ("pc", "q35")
    bridges: Names = ("br0",)
    networks: Names = ("default",)
    link_mib_per_s: float = pydantic.Field(fleet.DEFAULT_LINK_MIB_PER_S, gt=0)
    latency_ms: float = pydantic.Field(0.2, ge=0)
    #: Directory -> name of a store, or the GiB of one of the host's own.
    directories: dict[str, str | int] = pydantic.Field(default_factory=_own_directory)


class DiskPart(Part):
    """A disk of each guest, in a file named after the guest."""

    directory: str = fleet.DEFAULT_DIRECTORY
    gib: int = pydantic.Field(10, ge=1)
    format: str = "raw"
    cache: str = "none"
    shareable: bool = False


class GuestPart(Part):
    """One guest, or `count` alike."""

    name: str
    count: int = pydantic.Field(1, ge=1, le=1_000_000)
    #: Hosts, by name or with * and ?.
    hosts: Names = ("*",)
    spread: Literal["round_robin", "random"] = "round_robin"
    memory_mib: Integers = (2048,)
    vcpus: Integers = (1,)
    dirty_mib_per_s: Numbers = (0.0,)
    working_set_mib: Numbers | None = None
    disks: tuple[DiskPart, ...] = ()
    bridges: Names = ()
    networks: Names = ()
    machine_type: str = "q35"
    cpu_level: int = pydantic.Field(1, ge=1)
    passthrough_devices: Names = ()
    snapshots: int = pydantic.Field(0, ge=0)
    active_job: str = ""
    paused: bool = False
    persistent: bool = True
    project_id: str = ""


class StepPart(Part):
    """A step of a guest's transfer."""

    guest: str
    step: Literal["started", "iteration", "switch_over", "post_copy", "arrived", "ended"]
    #: Of an iteration: which pass.
    number: int | None = pydantic.Field(None, ge=1)


class DisturbancePart(Part):
    """Something that goes wrong, at a time or at a step."""

    do: Literal[
        "cut_link",
        "restore_link",
        "change_link",
        "kill_daemon",
        "silence_daemon",
        "start_daemon",
        "power_off",
        "destroy_guest",
        "crash_guest",
        "pause_guest",
        "resume_guest",
        "break_post_copy",
        "lose_closing_reply",
    ]
    #: Host, or "core" for the link that all cross.
    host: str | None = None
    guest: str | None = None
    #: How long it lasts; for lose_closing_reply until the source takes the transfer for failed.
    seconds: float | None = pydantic.Field(None, gt=0)
    mib_per_s: float | None = pydantic.Field(None, gt=0)
    latency_ms: float | None = pydantic.Field(None, ge=0)
    #: Simulated seconds after the start of the world.
    at_seconds: float | None = pydantic.Field(None, ge=0)
    on_step: StepPart | None = None


class CallFaultPart(Part):
    """A call of the driver that fails."""

    kind: faults.FaultKind
    method: str = "*"
    host: str = "*"
    guest: str = "*"
    nth: int = pydantic.Field(1, ge=0)
    when: faults.When = faults.When.BEFORE
    slug: str = "hypervisor_failure"
    fields: dict[str, str | int | float | bool | None] = pydantic.Field(default_factory=dict)
    seconds: float = pydantic.Field(0.0, ge=0)


class Scenario(Part):
    """A whole file."""

    name: str = pydantic.Field(pattern=r"^[a-zA-Z0-9._-]+$")
    seed: int = 0
    #: Simulated seconds in one of the clock's; multiplied by the option of that name.
    time_factor: float = pydantic.Field(1.0, gt=0)
    #: Whether transfers take no time.
    instant: bool = False
    core_mib_per_s: float | None = pydantic.Field(None, gt=0)
    call_timeout_seconds: float = pydantic.Field(30.0, gt=0)
    call_seconds: float = pydantic.Field(0.0, ge=0)
    stores: dict[str, StorePart] = pydantic.Field(default_factory=dict)
    hosts: tuple[HostPart, ...] = pydantic.Field(min_length=1)
    guests: tuple[GuestPart, ...] = ()
    disturbances: tuple[DisturbancePart, ...] = ()
    call_faults: tuple[CallFaultPart, ...] = ()


# -------------------------------------------------------------------- reading


def shipped() -> list[str]:
    """Give the names of the scenarios that come with the driver."""
    folder = importlib.resources.files(__package__).joinpath("scenarios")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load(file: str | None) -> Scenario:
    """Read a scenario file, or a shipped scenario by its name; None = the default one.

    :raises ConfigInvalid: naming file, place, and what to write instead.
    """
    name = file or DEFAULT_SCENARIO
    if name in shipped():
        text = importlib.resources.files(__package__).joinpath("scenarios", f"{name}.yaml").read_text(encoding="utf-8")
        return parse(text, f"scenario {name}")
    try:
        text = pathlib.Path(name).read_text(encoding="utf-8")
    except OSError as error:
        instead = f"Name a readable YAML file, or one of the shipped scenarios: {', '.join(shipped())}."
        raise errors.ConfigInvalid(where=name, problem=error.strerror or str(error), instead=instead) from error
    return parse(text, name)


def parse(text: str, where: str) -> Scenario:
    """Read a scenario from its text.

    :raises ConfigInvalid: as `load` does.
    """
    try:
        # The loader in C is ten times as fast; the one in Python is always there.
        raw = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both loaders are the safe one)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark is not None else where
        problem = getattr(error, "problem", None) or "this is not YAML"
        raise errors.ConfigInvalid(where=place, problem=problem, instead="Correct the YAML there.") from error
    if not isinstance(raw, dict):
        raise errors.ConfigInvalid(where=where, problem="this is not a mapping", instead="Start with name: and hosts:.")
    try:
        return Scenario.model_validate(raw)
    except pydantic.ValidationError as error:
        raise _explained(error, where) from error


def _explained(error: pydantic.ValidationError, where: str) -> errors.ConfigInvalid:
    found = error.errors(include_url=False)
    # A misspelt word explains what is missing, and a list is called too short when its items could not be read.
    found.sort(key=lambda problem: (problem["type"] != "extra_forbidden", problem["type"] == "too_short"))
    first = found[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    count = len({problem["loc"] for problem in found if problem["type"] != "too_short"})
    more = f" ({count - 1} more places are wrong)" if count > 1 else ""
    name = path.rpartition(".")[2]
    if first["type"] == "missing":
        problem, instead = "it is missing", f"Add {name}."
    elif first["type"] == "extra_forbidden":
        problem, instead = "this word is not known here", _suggest(name, sorted(_part_at(first["loc"][:-1]).model_fields))
    else:
        rule = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").partition(", unable")[0]
        problem, instead = f"{first['input']!r} does not fit", f"Write {rule}."
    return errors.ConfigInvalid(where=f"{where}: {path}", problem=problem + more, instead=instead)


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use one of: {', '.join(known)}."


def _part_at(location: tuple[int | str, ...]) -> type[Part]:
    part: type[Part] = Scenario
    children: dict[str, type[Part]] = {
        "stores": StorePart,
        "hosts": HostPart,
        "guests": GuestPart,
        "disks": DiskPart,
        "disturbances": DisturbancePart,
        "on_step": StepPart,
        "call_faults": CallFaultPart,
    }
    for step in location:
        part = children.get(str(step), part)
    return part
