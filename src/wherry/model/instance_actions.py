# SPDX-License-Identifier: Apache-2.0
"""Instance actions and their events: the story of a request, found by its request id."""

from __future__ import annotations

import dataclasses
import datetime
import enum


class ActionName(enum.StrEnum):
    """Nova's names of what was asked of a server."""

    LIVE_MIGRATION = "live-migration"
    LIVE_MIGRATION_CANCEL = "live_migration_cancel"
    LIVE_MIGRATION_FORCE_COMPLETE = "live_migration_force_complete"
    LIVE_MIGRATION_RESUME_POST_COPY = "live_migration_resume_post_copy"
    LIVE_MIGRATION_GIVE_UP = "live_migration_give_up"
    LOCK = "lock"
    UNLOCK = "unlock"
    RESET_STATE = "resetState"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    SUSPEND = "suspend"
    RESUME = "resume"
    MIGRATE = "migrate"
    RESIZE = "resize"
    CONFIRM_RESIZE = "confirmResize"
    REVERT_RESIZE = "revertResize"
    CREATE = "create"
    DELETE = "delete"


class EventName(enum.StrEnum):
    """Names of the stages. Nova's, but for `conductor_live_migrate_server` (a deliberate difference)."""

    CONDUCTOR_LIVE_MIGRATE = "conductor_live_migrate_server"
    CONDUCTOR_MIGRATE = "conductor_migrate_server"
    CHECK_DESTINATION = "compute_check_can_live_migrate_destination"
    CHECK_SOURCE = "compute_check_can_live_migrate_source"
    PREPARE = "compute_pre_live_migration"
    TRANSFER = "compute_live_migration"
    FINISH = "compute_post_live_migration_at_destination"
    ROLL_BACK = "compute_rollback_live_migration_at_destination"
    ABORT = "compute_live_migration_abort"
    FORCE_COMPLETE = "compute_live_migration_force_complete"
    RESUME_POST_COPY = "compute_live_migration_resume_post_copy"
    GIVE_UP_POST_COPY = "compute_live_migration_give_up"
    #: What the source did to a transfer, with the numbers it went by: its deadline was over, or the configuration changed it, or other.
    DEADLINE_APPLIED = "deadline_applied"
    DEADLINE_CHANGED = "deadline_changed"
    TRANSFER_ACTED_ON = "transfer_acted_on"
    LOCK = "api_lock"
    UNLOCK = "api_unlock"
    PAUSE = "compute_pause_instance"
    UNPAUSE = "compute_unpause_instance"
    START = "compute_start_instance"
    STOP = "compute_stop_instance"
    REBOOT = "compute_reboot_instance"
    SUSPEND = "compute_suspend_instance"
    RESUME = "compute_resume_instance"
    COLD_MIGRATE = "cold_migrate"
    PREP_RESIZE = "compute_prep_resize"
    RESIZE_INSTANCE = "compute_resize_instance"
    FINISH_RESIZE = "compute_finish_resize"
    ROLL_BACK_RESIZE = "compute_rollback_resize"
    CONFIRM_RESIZE = "compute_confirm_resize"
    REVERT_RESIZE = "compute_revert_resize"
    FINISH_REVERT_RESIZE = "compute_finish_revert_resize"
    SCHEDULE = "conductor_schedule_and_build_instances"
    BUILD = "compute__do_build_and_run_instance"
    DESTROY = "compute_terminate_instance"


class Result(enum.StrEnum):
    """How an event ended, in Nova's words."""

    SUCCESS = "Success"
    ERROR = "Error"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventOutcome:
    """How a stage ended, as whoever ran it says. The conductor stamps the times."""

    result: Result
    #: Why, for an administrator; None on an unremarkable success.
    details: str | None = None
    #: Full traceback of an unexpected error, for an administrator.
    traceback: str | None = None


SUCCEEDED = EventOutcome(result=Result.SUCCESS)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventStart:
    """Ask to open an event row. Opening one that is open already changes nothing."""

    name: EventName
    host: str
    #: Request id of the action it belongs to; None = the operation's own.
    request_id: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventFinish:
    """Ask to close the open event row of this name and host. Closing one that is closed already changes nothing."""

    name: EventName
    host: str
    outcome: EventOutcome
    request_id: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InstanceEvent:
    """One stage of an action, as stored."""

    id: int
    name: str
    host: str
    started_at: datetime.datetime
    finished_at: datetime.datetime | None = None
    result: Result | None = None
    details: str | None = None
    traceback: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InstanceAction:
    """One request about one server, as stored."""

    id: int
    action: str
    instance_uuid: str
    request_id: str
    user_id: str
    project_id: str
    started_at: datetime.datetime
    updated_at: datetime.datetime | None = None
    #: "Error" as soon as one event ended in error; None before.
    message: str | None = None
    events: tuple[InstanceEvent, ...] = ()
