# SPDX-License-Identifier: Apache-2.0
"""What of a report of `wherry status` needs somebody: what is wrong, why, and what to do about it. Pure; asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wherry.model import operation

Row = dict[str, Any]

#: Steps in which an operation may rightly stand for long: for its turn, for its copy, for a guest or an image.
_LONG = frozenset(
    {
        operation.StepName.ADMIT,
        operation.StepName.TRANSFER,
        operation.StepName.SHUT_DOWN,
        operation.StepName.CHANGE_POWER,
        operation.StepName.MOVE,
        operation.StepName.BUILD,
        operation.StepName.DESTROY,
    }
)


def found(report: Row, *, patience_seconds: float) -> list[Row]:
    """Give what needs somebody, the most general first; nothing where all goes by itself.

    :param patience_seconds: what stands for longer than that does not go by itself.
    """
    return [
        *_of_the_schema(report["schema"]),
        *(_of_the_fleet(report, patience_seconds) if report["schema"]["is_usable"] else ()),
    ]


def _finding(about: str, why: str, do: str) -> Row:
    return {"about": about, "why": why, "do": do}


def _of_the_schema(schema: Row) -> Iterator[Row]:
    if not schema["is_usable"]:
        revisions = ", ".join(schema["waiting"])
        yield _finding(
            "database",
            f"its schema is at {schema['revision']}, and {revisions} wait" if schema["revision"] else "it is empty",
            "Run `wherry db upgrade`.",
        )


def _of_the_fleet(report: Row, patience_seconds: float) -> Iterator[Row]:
    yield from _of_processes(report)
    for agent in report["agents"]:
        yield from _of_agent(agent)
    for one in report["operations"]:
        yield from _of_operation(one, patience_seconds)
    for one in report["conflicts"]:
        why = f"{one['reason']}: its guest, or a part of it, may be on more than one host"
        do = "Compare its hosts, remove what must not be, then set its state: docs/reference/statuses-and-events.md."
        yield _finding(f"server {one['name']}", why, do)
    for one in report["disputes"]:
        why = f"{one['claimed_by']} says to have its guest, which {one['recorded_on']} does not confirm ({one['says']})"
        yield _finding(f"server {one['server']}", why, "Look at both hosts, and remove the guest where it should not be.")


def _of_processes(report: Row) -> Iterator[Row]:
    if not any(one["state"] == "up" for one in report["apis"]):
        yield _finding("apis", "none is heard of: nobody answers requests", "Start `wherry api`.")
    for one in report["apis"]:
        if one["state"] != "up":
            yield _finding(
                f"api {one['name']} at {one['address']}",
                f"it ended without a word, or cannot reach the database: heard of {one['heard_seconds_ago']:g} s ago",
                "Start it again there. One that is gone for good is listed for [DEFAULT] forget_silent_seconds.",
            )
    if not any(one["lease"] == "held" for one in report["conductors"]):
        yield _finding(
            "conductors",
            "none holds a lease: no operation goes on",
            "Start `wherry conductor`; of one that runs, /healthz/ready says what it lacks.",
        )


def _of_agent(agent: Row) -> Iterator[Row]:
    name, heard = agent["host"], f"heard of {agent['heard_seconds_ago']:g} s ago"
    if agent["state"] == "up":
        return
    if not agent["is_forced_down"]:
        yield _finding(
            f"host {name}",
            f"its agent is silent, {heard}: no deadline is enforced there, and nothing is moved from or to it",
            f"Start `wherry agent` there. Only if the machine is dead: `openstack compute service set --down {name} nova-compute`.",
        )
    elif agent["is_heard"]:
        yield _finding(
            f"host {name}",
            f"it was said to be dead, and its agent lives, {heard}",
            f"If the machine is well: `openstack compute service set --up {name} nova-compute`.",
        )


def _of_operation(one: Row, patience_seconds: float) -> Iterator[Row]:
    about = f"{one['kind'].replace('_', ' ')} of {one['server_name']}"
    if one["newer"]:
        yield _finding(
            about,
            f"{one['newer']} is a newer release's: conductors of this one leave it alone",
            "Start a conductor of that release: finish the upgrade.",
        )
        return
    if one["reason"] is not None:
        yield _finding(about, one["reason"], one["remedy"] or "See what its migration waits for, below.")
    stands = one["stands_seconds"]
    if stands <= patience_seconds:
        return
    ago = f"for {stands:g} s"
    if one["queue_position"] is not None and not one["queue_waits_for"]:
        yield _finding(about, f"it may start, and has not {ago}", _see_log(one))
    elif one["queue_position"] is None and one["step"] not in _LONG and one["reason"] is None and one["conductor_name"] is not None:
        yield _finding(about, f"it has stood at the step {one['step']} {ago}", _see_log(one))


def _see_log(one: Row) -> str:
    where = f"the log of {one['conductor_name']}" if one["conductor_name"] else "the conductors' logs"
    return f"Look for {one['id']} in {where}: the database may refuse what is written (its disk is full), or a host answer with errors."
