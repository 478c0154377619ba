# SPDX-License-Identifier: Apache-2.0
"""What the demo tells: a guest that moves, one that does not come across, and what a budget of its own does to that one.

Must not print anything as true that was not just checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from wherry.model import deadline, instance_actions, states
from wherry.testing import lab as labs
from wherry.testing.demo import api, errors, records, show, site
from wherry.testing.lab import command

DISCOVERY_TIMEOUT_SECONDS = 20.0
#: Either migration has ended long before; what takes longer is stuck.
MIGRATION_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.1
#: The busy guest is aborted once all of its memory was sent and it still is not across; or after this time, whatever was sent.
BUSY_PATIENCE_SECONDS = 25.0

#: How far from its time a deadline may be applied.
DEADLINE_ERROR_SECONDS = 1.0

_SUCCESS_STORY = (
    instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE,
    instance_actions.EventName.CHECK_DESTINATION,
    instance_actions.EventName.CHECK_SOURCE,
    instance_actions.EventName.PREPARE,
    instance_actions.EventName.TRANSFER,
    instance_actions.EventName.FINISH,
)


class Story:
    """All three acts, on one site through one API."""

    def __init__(self, client: api.ComputeApi, stage: show.Show, place: site.Site) -> None:
        self._api = client
        self._show = stage
        self._site = place

    def wait_for_servers(self) -> dict[str, records.Server]:
        """Wait until all hosts are up and Wherry has found both guests by itself."""
        wanted = (self._site.calm, self._site.busy)
        found: dict[str, records.Server] = {}
        hosts: list[str] = []

        def are_found() -> bool:
            hosts[:] = self._api.hosts_up()
            found.update(self._api.servers())
            return len(hosts) == self._site.host_count and set(wanted) <= found.keys()

        begun = time.monotonic()
        _wait(are_found, "all hosts and both guests", DISCOVERY_TIMEOUT_SECONDS, lambda: f"there are {hosts} with {sorted(found)}")
        seconds = time.monotonic() - begun
        for name in wanted:
            self._show.line(f"{name:<8} server {found[name].id}, {found[name].status}, on {found[name].host}")
        are_active = all(found[name].status == "ACTIVE" and found[name].host for name in wanted)
        self._show.claim(
            f"found, not declared: {len(hosts)} hosts are up, both guests are ACTIVE servers", are_active, f"after {seconds:.1f} s"
        )
        return found

    # ---------------------------------------------------------------- the first act

    def move(self, server: records.Server) -> None:
        """Live-migrate the calm guest and prove where it is."""
        self._show.heading(f"1. Live-migrate {server.name!r}; Wherry chooses the destination")
        answer, migration, seconds = self._migrate(server)
        events = self._tell(server, answer, migration)
        done = f"from POST to {migration.status} {seconds:.2f} s"
        self._show.claim("the migration is completed", migration.status == states.Status.COMPLETED, done)
        self._show.claim("every stage has its event, in order, each with host, start, finish and Success", tells_success(events))
        self._check_new_home(server, migration)

    def _tell(self, server: records.Server, answer: api.Answer, migration: records.Migration) -> list[records.Event]:
        """Show what the instance action and the record have of it."""
        events = self._api.events(server.id, answer.request_id)
        self._show.line()
        self._show.line(f"the instance action of {answer.request_id}:")
        self._show.events(events)
        self._show.line()
        self._show.line("the migration record:")
        self._show.migration(migration)
        self._show.line()
        return events

    def _check_new_home(self, server: records.Server, migration: records.Migration) -> None:
        now = self._api.server(server.id)
        place = f"{now.status}, host {now.host}, task_state {now.task_state}"
        moved = now.host == migration.destination != migration.source and now.status == "ACTIVE" and now.task_state is None
        self._show.claim("the server is ACTIVE at the destination", moved, place)
        sightings = self._site.look(server.name, [migration.source, migration.destination or ""])
        if not sightings:
            return
        self._show.sightings(sightings)
        source, destination = sightings
        self._show.claim(f"{destination.host}'s hypervisor runs it", destination.is_running)
        self._show.claim(f"{source.host}'s hypervisor has no such domain", source.is_absent)
        self._check_memory(server.name)

    def _check_memory(self, guest: str) -> None:
        try:
            checked = self._site.check_memory(guest)
        except labs.LabError as problem:
            self._show.claim("the guest found no page lost or changed", False, str(problem))
            return
        if checked:
            self._show.claim("the guest itself has found no page lost or changed", True, f"{checked} checked since it booted")

    # ---------------------------------------------------------------- the second act

    def abort(self, server: records.Server) -> None:
        """Begin to migrate the busy guest, see that it does not come across, abort, and prove that it stayed."""
        self._show.heading(f"2. Live-migrate {server.name!r}, which writes faster than its memory is sent; abort it")
        begun = time.monotonic()

        def is_hopeless(migration: records.Migration) -> bool:
            patience = time.monotonic() - begun > BUSY_PATIENCE_SECONDS
            return migration.status == states.Status.RUNNING and (migration.has_sent_all_once or patience)

        _, migration, _ = self._migrate(server, until=is_hopeless)
        sent = f"{records.mib(migration.memory_processed_bytes)} sent, {records.mib(migration.memory_remaining_bytes)} left"
        self._show.claim("it runs and does not converge", migration.status == states.Status.RUNNING, sent)
        if migration.is_ended:
            return
        self._show.line()
        self._show.request("DELETE", f"{self._api.url}/v2.1/servers/{server.id}/migrations/{migration.id}", api.READ, None)
        answer = self._api.abort(server.id, migration.id)
        self._show.answer(answer.status, answer.seconds, answer.request_id)
        self._show.claim("the abort is accepted", answer.status == 202)
        asked = time.monotonic()
        ended = self._follow(server, migration.id, lambda seen: seen.is_ended)
        took = time.monotonic() - asked
        self._show.line()
        self._show.events(self._api.events(server.id, answer.request_id))
        self._show.line()
        self._show.migration(ended)
        self._show.line()
        is_cancelled = ended.status == states.Status.CANCELLED
        self._show.claim("the migration is cancelled", is_cancelled, f"{took:.2f} s after the abort was asked for")
        self._check_old_home(server, ended)

    def _check_old_home(self, server: records.Server, migration: records.Migration) -> None:
        now = self._api.server(server.id)
        place = f"{now.status}, host {now.host}, task_state {now.task_state}"
        stayed = now.host == migration.source == server.host and now.status == "ACTIVE" and now.task_state is None
        self._show.claim("the server is ACTIVE at the source", stayed, place)
        sightings = self._site.look(server.name, [migration.source, migration.destination or ""])
        if not sightings:
            return
        self._show.sightings(sightings)
        source, destination = sightings
        self._show.claim(f"{source.host}'s hypervisor still runs it", source.is_running)
        self._show.claim(f"nothing of it is left on {destination.host}", destination.is_absent)

    # ---------------------------------------------------------------- the third act

    def force(self, server: records.Server) -> None:
        """Migrate the busy guest with a deadline of its own, and see it applied in time."""
        budget = self._site.budget_seconds
        self._show.heading(f"3. Live-migrate {server.name!r} again, with {budget} s of its own; then it is forced through")
        answer, migration, _ = self._migrate(server, api.OWN, timeout_seconds=budget, on_timeout=deadline.TimeoutAction.FORCE_COMPLETE)
        events = self._tell(server, answer, migration)
        after = seconds_until_forced(events)
        applied = "it was not" if after is None else f"{after:.2f} s after the transfer began"
        is_in_time = after is not None and abs(after - budget) < DEADLINE_ERROR_SECONDS
        self._show.claim(f"the deadline of {budget} s was applied within {DEADLINE_ERROR_SECONDS:g} s of its time", is_in_time, applied)
        self._show.claim("the migration is completed", migration.status == states.Status.COMPLETED)
        self._check_new_home(server, migration)

    # ---------------------------------------------------------------- what they have in common

    def _migrate(
        self,
        server: records.Server,
        version: str = api.ASYNCHRONOUS,
        until: Callable[[records.Migration], bool] = lambda seen: seen.is_ended,
        **own: Any,
    ) -> tuple[api.Answer, records.Migration, float]:
        path, body = api.action_path(server.id), api.live_migration_body(**own)
        self._show.request("POST", f"{self._api.url}{path}", version, body)
        begun = time.monotonic()
        answer = self._api.live_migrate(server.id, version, body)
        self._show.answer(answer.status, answer.seconds, answer.request_id)
        if answer.status != 202:
            raise errors.DemoFailed(f"the live migration was refused: {answer.body}")
        self._show.claim("202: it is recorded; what comes of it is in the instance action of this request id", True)
        migration = self._follow(server, self._await_id(server, answer.request_id), until)
        return answer, migration, time.monotonic() - begun

    def _await_id(self, server: records.Server, request_id: str) -> int:
        """Wait until the checks have passed: from then on the migration is listed."""
        found: list[records.Migration] = []

        def is_listed() -> bool:
            found.extend(self._api.migrations_in_progress(server.id))
            return bool(found)

        def story() -> str:
            return "; ".join(
                f"{one.name} on {one.host or '-'}: {one.result} {one.details}" for one in self._api.events(server.id, request_id)
            )

        _wait(is_listed, "the checks to pass", MIGRATION_TIMEOUT_SECONDS, story, give_up=lambda: self._has_error(server, request_id))
        return found[0].id

    def _has_error(self, server: records.Server, request_id: str) -> bool:
        conductor = instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE
        return any(one.name == conductor and one.result == "Error" for one in self._api.events(server.id, request_id))

    def _follow(self, server: records.Server, migration_id: int, until: Callable[[records.Migration], bool]) -> records.Migration:
        seen: list[records.Migration] = []
        with self._show.progress(server.name) as update:

            def is_over() -> bool:
                seen.append(self._api.migration(server.id, migration_id))
                update(seen[-1])
                return until(seen[-1]) or seen[-1].is_ended

            _wait(is_over, f"migration {migration_id}", MIGRATION_TIMEOUT_SECONDS, lambda: f"it is {seen[-1].status}")
        return seen[-1]


def _wait(
    condition: Callable[[], bool],
    what: str,
    timeout_seconds: float,
    state: Callable[[], str],
    give_up: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for a condition; say how things stand when it does not come."""

    def is_over() -> bool:
        if condition():
            return True
        if give_up():
            raise errors.DemoFailed(f"waited for {what}: {state()}")
        return False

    try:
        command.wait_until(is_over, what, timeout_seconds=timeout_seconds, interval_seconds=POLL_SECONDS)
    except labs.LabError as problem:
        raise errors.DemoFailed(f"{problem}: {state()}") from None


def tells_success(events: Sequence[records.Event]) -> bool:
    """Whether these are the events of a live migration that went well, each finished, each with its host."""
    names = [one.name for one in events if one.name in _SUCCESS_STORY]
    finished = all(one.finished_at is not None and one.result == "Success" and one.host for one in events)
    return finished and names == [str(name) for name in _SUCCESS_STORY]


def seconds_until_forced(events: Sequence[records.Event]) -> float | None:
    """Tell how long after the start of the transfer its deadline was applied; None if it was not."""
    started = {one.name: one.started_at for one in events}
    transfer, applied = instance_actions.EventName.TRANSFER, instance_actions.EventName.DEADLINE_APPLIED
    if transfer not in started or applied not in started:
        return None
    return (started[applied] - started[transfer]).total_seconds()
