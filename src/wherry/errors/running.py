# SPDX-License-Identifier: Apache-2.0
"""What stops a process, a message or a write: configuration, bus, database, leases, registration."""

from __future__ import annotations

from wherry.errors.tree import Conflict, Forbidden, Internal, Invalid, Timeout, Unavailable


class ConfigInvalid(Invalid):
    slug = "config_invalid"
    template = "{where}: {problem}"
    remedy_template = "{instead}"


class HostUnreachable(Unavailable):
    """No agent answers for this host: says nothing about the guests on it."""

    slug = "host_unreachable"
    template = "No agent answers for host {host}."
    remedy_template = "Start the agent of {host}, or see its log if it runs."


class ConductorUnreachable(Unavailable):
    slug = "conductor_unreachable"
    template = "No conductor answers."
    remedy_template = "Start a conductor, or see its log if one runs."


class BusUnavailable(Unavailable):
    slug = "bus_unavailable"
    template = "The message bus cannot be used: {detail}"


class BusForbidden(Unavailable):
    """The bus's permissions do not let this process do that. Others may mend them while it runs, so trying again is right."""

    slug = "bus_forbidden"
    template = "The message bus does not let this process {what} {subject}."
    remedy_template = "See that [bus] user is the one made for this process, with the permissions that wherry bus-permissions writes."


class RpcTimeout(Timeout):
    slug = "rpc_timeout"
    template = "{what} at {host} did not answer within {seconds} s."


class MessageInvalid(Invalid):
    slug = "message_invalid"
    template = "The message {message_type} cannot be read: {problem}"


class MessageUnknown(Unavailable):
    """A process of an older release was given a message that came later. Another one may know it."""

    slug = "message_unknown"
    template = "The release that {receiver} runs does not know the message {message_type}."
    remedy_template = "Try again; while releases are mixed another process may know it. If it stays so, upgrade {receiver}."


class MessageTooLarge(Invalid):
    slug = "message_too_large"
    template = "The message {message_type} has {size} bytes; {limit} are allowed."
    remedy_template = "Raise [bus] max_message_bytes and the limit of the bus itself."


class TooManyMessages(Unavailable):
    """A process works on as many messages as it may; this one was not begun."""

    slug = "too_many_messages"
    template = "{receiver} is working on {limit} messages already, which is its limit; {message_type} was not begun."
    remedy_template = (
        "Try again; if it stays so, start another process or raise [bus] max_concurrent_messages, "
        "or max_concurrent_messages_per_agent where one agent sends them."
    )


class StaleEpoch(Conflict):
    """A command of an earlier owner, or for a migration that has ended here."""

    slug = "stale_epoch"
    template = "Operation {operation_id}: epoch {epoch} is not accepted here, {problem}."


class StaleWrite(Conflict):
    """Another writer advanced the row first; read it again."""

    slug = "stale_write"
    template = "{what} {name} was changed by another writer."
    retryable = True


class LeaseLost(Conflict):
    slug = "lease_lost"
    template = "Conductor {conductor} no longer holds its lease and has stopped commanding."


class DatabaseUnavailable(Unavailable):
    slug = "database_unavailable"
    template = "The database does not answer: {detail}"


class SchemaOutdated(Internal):
    """The database is of an earlier release; a process that went on would fail at the first query that it is not made for."""

    slug = "schema_outdated"
    template = "{told} This release needs {needed}."
    remedy_template = "Run `wherry db upgrade` with the same configuration, then start this again."


class StillStarting(Unavailable):
    """A process that was just started waits for what it needs."""

    slug = "still_starting"
    template = "This process is still starting: {reason}."
    remedy_template = "Try again in a moment; if it stays so, its log says why."


class IdentityUnavailable(Unavailable):
    """Keystone cannot be asked, or refuses us; nothing is known about the caller. Why is in the log, not in the answer."""

    slug = "identity_unavailable"
    # keystonemiddleware's words.
    template = "The Keystone service is temporarily unavailable."
    remedy_template = "Try again; if it stays so, the API's log says why."


class IllegalTransition(Internal):
    """The table in model/states.py has no such row; nothing was changed."""

    slug = "illegal_transition"
    template = "A migration in status {status} cannot take the event {event}."


class PlanIncomplete(Internal):
    """A step was reached without what the step before it finds out: a fault of Wherry's own."""

    slug = "plan_incomplete"
    template = "Operation {operation_id} has reached a step that needs its {what}, which is not known."


class SenderRefused(Forbidden):
    """An agent spoke of another host than its own, of a migration that is another host's to report of, or as an api."""

    slug = "sender_refused"
    template = "A message of {sender} speaks for {named}."


class HostRefused(Conflict):
    """An agent may not register: the name or the hypervisor belongs to another."""

    slug = "host_refused"
    template = "Host {host} is refused: {problem}"
    remedy_template = "{instead}"


class JournalUnwritable(Unavailable):
    slug = "journal_unwritable"
    template = "The agent's journal {path} cannot be written: {detail}."
    remedy_template = "Give the agent's file system room; what waits for it goes on by itself."


class JournalLocked(Conflict):
    """A second agent with one journal: both would act on the same guests."""

    slug = "journal_locked"
    template = "The journal {path} is in use by another agent ({holder})."
    remedy_template = "Stop that agent, or give this one another [agent] journal_path."
