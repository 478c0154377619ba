# SPDX-License-Identifier: Apache-2.0
"""What is promised to an operator who looks at the whole fleet."""

from __future__ import annotations

import datetime

from wherry.model import guest, operation, power, states
from wherry.testing.store_contract import harness as harnesses


class OverviewContract:
    """The fleet at one moment."""

    async def test_every_open_operation_is_shown_with_its_server_and_migration(self, harness: harnesses.Harness) -> None:
        ended = await harness.make_owned()
        await harness.advance(ended, operation.Transition(step=operation.StepName.DONE, event=states.Event.CHECK_FAILED))
        queued = await harness.make_queued("host-a", "host-b", name="waiting")
        nobodys, _ = await harness.accept(await harness.make_server(name="new"))
        shown = {one.id: one for one in await harness.store.read(lambda uow: uow.overview.open_operations())}
        # Both were recorded at the same moment, so their order says nothing.
        assert shown.keys() == {queued.id, nobodys.id}
        first, second = shown[queued.id], shown[nobodys.id]
        assert (first.owner, first.server_name, first.status) == ("conductor-1", "waiting", states.Status.QUEUED)
        assert (first.source, first.destination) == ("host-a", "host-b")
        assert first.migration_id == (await harness.migration(queued)).id
        assert (second.owner, second.server_name, second.step) == (None, "new", operation.StepName.SELECT_DESTINATION)

    async def test_apis_are_shown_until_they_end_or_others_take_their_place(self, harness: harnesses.Harness) -> None:
        for api_id, address in (("1", "http://a:1"), ("2", "http://a:1"), ("3", "http://b:1")):
            await harness.store.run(lambda uow, one=(api_id, "kvm1", address): uow.apis.hear(*one))  # type: ignore[misc]  # bound at once
        begun = {one.id: one.started_at for one in await harness.store.read(lambda uow: uow.apis.list())}
        harness.clock.time += datetime.timedelta(seconds=61)
        await harness.store.run(lambda uow: uow.apis.hear("2", "kvm1", "http://a:1"))
        assert await harness.store.run(lambda uow: uow.apis.remove_silent("kvm1", "http://a:1", 60.0)) == 1
        await harness.store.run(lambda uow: uow.apis.remove("3"))
        (left,) = await harness.store.read(lambda uow: uow.apis.list())
        assert (left.id, left.address, left.started_at) == ("2", "http://a:1", begun["2"])
        assert (left.heard_at - left.started_at).total_seconds() == 61
        harness.clock.time += datetime.timedelta(seconds=100)
        assert await harness.store.run(lambda uow: uow.apis.forget_silent(101.0)) == 0
        assert await harness.store.run(lambda uow: uow.apis.forget_silent(99.0)) == 1

    async def test_an_operation_without_a_migration_is_shown_too(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        request = power.PowerRequest(action=power.PowerAction.STOP)
        asked = {"request_id": "req", "user_id": "u", "project_id": "p"}
        await harness.store.run(lambda uow: uow.operations.accept(made, request, **asked))
        (only,) = await harness.store.read(lambda uow: uow.overview.open_operations())
        assert (only.instance_uuid, only.migration_id, only.status) == (made.uuid, None, None)

    async def test_what_was_asked_is_shown_until_it_is_taken_up(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        intent = await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, operation.IntentKind.ABORT, request_id="req-x"))
        (pending,) = await harness.store.read(lambda uow: uow.overview.pending_intents())
        assert (pending.operation_id, pending.kind) == (owned.id, operation.IntentKind.ABORT)
        assert pending.requested_at == intent.requested_at
        await harness.store.run(lambda uow: uow.operations.acknowledge_intent(intent))
        assert await harness.store.read(lambda uow: uow.overview.pending_intents()) == []

    async def test_a_dispute_is_shown_once_as_it_is_now_until_it_is_over(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()

        async def note(host: str, state: guest.GuestState) -> bool:
            return await harness.store.run(
                lambda uow: uow.disputes.note(made.uuid, host, recorded_host=made.host or "", recorded_state=state)
            )

        assert await note("host-x", guest.GuestState.UNREACHABLE)
        assert await note("host-y", guest.GuestState.RUNNING)
        assert not await note("host-x", guest.GuestState.SHUT_OFF)
        first, second = await harness.store.read(lambda uow: uow.disputes.list())
        assert (first.instance_uuid, first.host, first.recorded_host) == (made.uuid, "host-x", made.host)
        assert (first.recorded_state, second.recorded_state) == (guest.GuestState.SHUT_OFF, guest.GuestState.RUNNING)
        assert await harness.store.read(lambda uow: uow.disputes.list("host-y")) == [second]
        await harness.store.run(lambda uow: uow.disputes.remove(first.id))
        assert await harness.store.read(lambda uow: uow.disputes.list()) == [second]
        claimed = [await harness.store.read(lambda uow, uuid=uuid: uow.disputes.are_about(uuid)) for uuid in (made.uuid, "another")]  # type: ignore[misc]  # bound at once
        assert claimed == [True, False]

    async def test_servers_with_which_something_is_wrong_are_shown(self, harness: harnesses.Harness) -> None:
        await harness.make_server()
        wrong = await harness.make_server(reason="two_hosts", name="twice")
        (conflict,) = await harness.store.read(lambda uow: uow.overview.conflicts())
        assert (conflict.uuid, conflict.name, conflict.host, conflict.reason) == (wrong.uuid, "twice", wrong.host, "two_hosts")
