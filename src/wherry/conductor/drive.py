# SPDX-License-Identifier: Apache-2.0
"""What a step works with, and what it may answer: the operation as last stored, the agents, the clock.

Decides nothing: the steps do. Writes nothing: the orchestrator stores what a step answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from wherry import clock as clocks
from wherry import config as configs
from wherry import errors
from wherry.conductor import lease as leases
from wherry.conductor import survey as surveys
from wherry.conductor import told as tellings
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.model import build, instance_actions, power, server, states
from wherry.model import guest as guests
from wherry.model import host as hosts
from wherry.model import migration as migrations
from wherry.model import operation as operations
from wherry.rpc import addresses, instance_events, messages
from wherry.rpc import client as clients

R = TypeVar("R", bound=messages.Message)
T = TypeVar("T")

#: Name of the event by which each kind of intent is told, in its own action.
INTENT_EVENTS = {
    operations.IntentKind.ABORT: instance_actions.EventName.ABORT,
    operations.IntentKind.FORCE_COMPLETE: instance_actions.EventName.FORCE_COMPLETE,
    operations.IntentKind.RESUME_POST_COPY: instance_actions.EventName.RESUME_POST_COPY,
    operations.IntentKind.GIVE_UP: instance_actions.EventName.GIVE_UP_POST_COPY,
}

#: Runs in the unit of work that stores the transition, before it; raises StaleWrite or Postponed to keep it from being stored.
Guard = Callable[[uows.UnitOfWork], Awaitable[None]]


class Postponed(Exception):
    """Raised by a guard: not now; nothing was stored."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.why)
        self.wait = wait


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """A command that ends a migration on a host. It is sent once the decision is stored: before that, the step may run again."""

    host: str
    command: messages.Request[Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """A step's answer: store this, then go on."""

    transition: operations.Transition
    guard: Guard | None = None
    #: The error with which the checks end the migration here, whole, for who waits; the record keeps only its words.
    refusal: errors.Error | None = None
    #: What is owed from here on to a host that the guest will not go to. The migration does not wait for it.
    owed: tuple[Owed, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A step's answer: run me again when something happens, or after this long."""

    seconds: float
    why: str


Answer = Advance | Wait


@dataclasses.dataclass(kw_only=True, slots=True)
class Drive:
    """One operation on its way, in the hands of this conductor."""

    operation: operations.Operation
    #: The migration of an operation that is one.
    record: migrations.Migration | None
    store: stores.Store
    agents: clients.Client
    clock: clocks.Clock
    config: configs.Config
    lease: leases.Lease
    survey: surveys.Survey
    #: Intents that are not acknowledged, oldest first; refreshed by the orchestrator when one was recorded.
    intents: tuple[operations.Intent, ...] = ()
    #: Whether this conductor has told the source to start, or to go on, since it took the operation on.
    has_commanded: bool = False
    #: What the source said of itself when this conductor chose the present destination by it.
    source_description: hosts.HostDescription | None = None
    #: Whether this conductor has seen to it that the present destination's probes are gone.
    has_released: bool = False
    #: Ids of intents that the source has taken up, or refused for good, since this conductor last commanded it.
    delivered: set[int] = dataclasses.field(default_factory=set)
    #: When the source was last heard of, on the clock's monotonic time.
    heard_at: float = 0.0
    #: Whether this conductor itself came to the present step and has not run it before: nobody has asked anything in it.
    is_step_new: bool = False
    #: Repetitions of the present step for a passing reason.
    attempts: int = 0
    #: Times that both sides were read for the verdict.
    readings: int = 0
    #: Within which time the slots that it waits for may be free, by a word that it has not heeded yet; 0: they are. None: there was none.
    free_within_seconds: float | None = None
    #: Since when the two sides contradict each other, on the clock's monotonic time; None while they do not.
    contradiction_since: float | None = None
    #: What the source has reported.
    told: tellings.Told = dataclasses.field(init=False)
    #: Number of the lease under which it was taken on.
    term: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.told = tellings.Told(self.operation.id)
        self.term = self.lease.term

    @property
    def migration(self) -> migrations.Migration:
        """The record that the API shows of a migration."""
        return self._known(self.record, "migration")

    @property
    def request(self) -> migrations.LiveMigrationRequest:
        """What was asked of a migration."""
        request = self.operation.request
        return self._known(request if isinstance(request, migrations.LiveMigrationRequest) else None, "request for a migration")

    @property
    def power_action(self) -> power.PowerAction:
        """Which power action was asked for."""
        request = self.operation.request
        return self._known(request.action if isinstance(request, power.PowerRequest) else None, "power action")

    @property
    def cold_request(self) -> migrations.ColdMigrationRequest:
        """What was asked of a cold migration or resize."""
        request = self.operation.request
        return self._known(request if isinstance(request, migrations.ColdMigrationRequest) else None, "request for a cold migration")

    @property
    def new_size(self) -> migrations.Size:
        """The size that the guest has after its cold migration or resize."""
        return self._known(self.plan.new_size, "new size")

    @property
    def build_request(self) -> build.BuildRequest:
        """What was asked of a server that is to be made."""
        request = self.operation.request
        return self._known(request if isinstance(request, build.BuildRequest) else None, "request for a server")

    @property
    def plan(self) -> migrations.DrivenPlan:
        """What the steps have found out so far."""
        return self.operation.plan

    @property
    def destination(self) -> str:
        """The destination's name."""
        return self._known(self.plan.destination, "destination")

    @property
    def guest(self) -> guests.Guest:
        """The guest as the source described it before the checks."""
        return self._known(self.plan.guest, "guest")

    @property
    def facts(self) -> migrations.DestinationFacts:
        """What the destination's check found out."""
        return self._known(self.plan.facts, "facts")

    @property
    def ending(self) -> migrations.Ending:
        """How the migration ends once the undo is done."""
        return self._known(self.plan.ending, "ending")

    @property
    def ids(self) -> dict[str, Any]:
        """The fields that every command begins with."""
        return {
            # One that goes on with an earlier operation's migration is known to the agents by that one's id.
            "operation_id": self.operation.migration_uuid or self.operation.id,
            "epoch": self.operation.epoch,
            "instance_uuid": self.operation.instance_uuid,
        }

    @property
    def planned(self) -> dict[str, Any]:
        """The fields of a command that carries the plan."""
        return {**self.ids, "plan": self.plan, "request": self.request}

    @property
    def moving(self) -> dict[str, Any]:
        """The fields of a command about a cold migration or resize."""
        return {**self.ids, "plan": self.plan}

    @property
    def checks_age_seconds(self) -> float:
        """How long ago the checks passed; 0 when they have not."""
        return (self.clock.now() - self.plan.checked_at).total_seconds() if self.plan.checked_at else 0.0

    def are_checks_old(self, within_seconds: float = 0.0) -> bool:
        """Whether the checks have to run again for a start now, or for one after this time."""
        return self.checks_age_seconds + within_seconds > self.config.conductor.check_ttl_seconds

    def wants(self, kind: operations.IntentKind) -> bool:
        """Whether somebody asked for this and was not served yet."""
        return any(intent.kind is kind for intent in self.intents)

    async def ask(self, host: str, request: messages.Request[R]) -> R:
        """Send a command to a host's agent.

        :raises LeaseLost: when this conductor may command no longer.
        :raises HostUnreachable: at once when no agent listens; nothing is known about the host's guests.
        """
        self.lease.require(self.term)
        return await self.agents.call(addresses.agent(host), request)

    async def require_own(self, refusal: errors.StaleEpoch) -> None:
        """Make sure that an agent refused a command because the migration was ended there, and not because another conductor owns it.

        :raises StaleEpoch: the refusal, when another one does.
        """
        current = await self.store.look(lambda uow: uow.operations.get(self.operation.id))
        if (current.owner, current.epoch) != (self.operation.owner, self.operation.epoch):
            raise refusal

    def _known(self, value: T | None, what: str) -> T:
        if value is None:
            raise errors.PlanIncomplete(operation_id=self.operation.id, what=what)
        return value

    async def hosts_by_name(self) -> dict[str, hosts.Host]:
        """Read the records of all hosts."""
        return {record.name: record for record in await self.store.read(lambda uow: uow.hosts.list())}


def check_failed(error: errors.Error) -> operations.Transition:
    """Give the end of a migration that a check refused: nothing was touched, the server is as it was."""
    return operations.Transition(
        step=operations.StepName.DONE,
        event=states.Event.CHECK_FAILED,
        reason=reason_of(error),
        server=server.ServerChange(clear_task=True, progress=0),
        closing=instance_events.outcome_of(error),
    )


def refused(error: errors.Error) -> Advance:
    """Give a check's refusal as the step's answer, for good."""
    return Advance(transition=check_failed(error), refusal=error)


def aborted_untouched() -> operations.Transition:
    """Give the end of a migration that was aborted before anything was touched."""
    return operations.Transition(
        step=operations.StepName.DONE,
        event=states.Event.ABORTED,
        reason=migrations.Reason(slug="requested", message="Aborted on request before the transfer started."),
        server=server.ServerChange(clear_task=True, progress=0),
        closing=instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="Aborted on request."),
    )


def undo(
    ending: migrations.Ending,
    plan: migrations.DrivenPlan,
    *,
    started: tuple[instance_actions.EventStart, ...] = (),
    finished: tuple[instance_actions.EventFinish, ...] = (),
) -> operations.Transition:
    """Give the move to the undo, with the end that is decided already."""
    return operations.Transition(
        step=operations.StepName.ROLL_BACK,
        plan=dataclasses.replace(plan, ending=ending),
        reason=ending.reason,
        started=started,
        finished=finished,
    )


def kept_as_evidence(reason: migrations.Reason, *, finished: tuple[instance_actions.EventFinish, ...] = ()) -> Advance:
    """Give the end in error of what only a person can put right: the server is in ERROR, both sides stay as they are."""
    return Advance(
        transition=operations.Transition(
            step=operations.StepName.DONE,
            event=states.Event.FOUND_INCONSISTENT,
            reason=reason,
            server=server.ServerChange(vm_state=server.VmState.ERROR, clear_task=True, progress=0, reason=reason.slug),
            finished=finished,
            closing=instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=reason.message),
        )
    )


def reason_of(error: errors.Error) -> migrations.Reason:
    """Give an error as the record's reason."""
    return migrations.Reason(slug=error.slug, message=error.message, remedy=error.remedy)


def unreachable(slug: str, host: str) -> migrations.Reason:
    """Give the reason for which a migration waits on a host that is silent."""
    return migrations.Reason(
        slug=slug,
        message=f"{host} does not answer; what became of the guest is not known.",
        remedy=f"Bring the agent and hypervisor of {host} back, or force its service down if the host is dead.",
    )


def headline(told: str) -> str:
    """Give what was done to a transfer, and when; the numbers that it went by are in the event of that."""
    return told.partition(";")[0]


def states_of(state: guests.GuestState | None) -> dict[str, Any]:
    """Give the server's states that a guest's state means; nothing where it means nothing."""
    if state is None or state not in server.STATES_OF_GUEST:
        return {}
    vm_state, power_state = server.STATES_OF_GUEST[state]
    return {"vm_state": vm_state, "power_state": power_state}
