# SPDX-License-Identifier: Apache-2.0
"""What the API says at once, before anything is begun."""

from __future__ import annotations

from wherry.errors.tree import Conflict, Forbidden, Invalid, NotFound, Unavailable


class ServerNotFound(NotFound):
    slug = "server_not_found"
    template = "Instance {uuid} could not be found."


class MigrationNotFound(NotFound):
    slug = "migration_not_found"
    template = "Migration {migration_id} not found for instance {uuid}"


class MigrationNotInProgress(NotFound):
    slug = "migration_not_in_progress"
    template = "In-progress live migration {migration_id} is not found for server {uuid}."


class MigrationEnded(NotFound):
    """Nova's answer to the show of a migration that is over."""

    slug = "migration_ended"
    template = "Live migration {migration_id} for server {uuid} is not in progress."
    remedy_template = "Ask at microversion 2.1000, which shows ended ones too."


class MigrationNotLive(NotFound):
    """Nova's answer to the show of a cold migration or resize among the live ones."""

    slug = "migration_not_live"
    template = "Migration {migration_id} for server {uuid} is not live-migration."
    remedy_template = "Ask at microversion 2.1000, which shows the others too."


class ActionNotFound(NotFound):
    slug = "action_not_found"
    template = "Action {request_id} not found"


class FlavorNotFound(NotFound):
    slug = "flavor_not_found"
    template = "Flavor {flavor} could not be found."
    remedy_template = "See GET /flavors for what there is."


class ExtraSpecNotFound(NotFound):
    slug = "extra_spec_not_found"
    template = "Flavor {flavor} has no extra specs with key {key}."


class ServerTagNotFound(NotFound):
    slug = "server_tag_not_found"
    template = "Server {uuid} has no tag '{tag}'."


class ServerFound(Conflict):
    slug = "server_found"
    template = "Server {uuid} was found on its host, not made here: its description can be changed, all else is its hypervisor's to say."


class MetadataItemNotFound(NotFound):
    slug = "metadata_item_not_found"
    template = "Metadata item {key} was not found."


class FlavorExists(Conflict):
    slug = "flavor_exists"
    template = "Flavor with {what} {value} already exists."
    remedy_template = "Send another {what}."


class ImageNotFound(NotFound):
    slug = "image_not_found"
    template = "Image {image} could not be found."
    remedy_template = "See `wherry image list` for what there is."


class ImageRefused(Invalid):
    slug = "image_refused"
    template = "Image {image} cannot be used: {detail}."


class ImagesUnavailable(Unavailable):
    slug = "images_unavailable"
    template = "The images cannot be reached at {where}: {detail}"


class HostNotFound(NotFound):
    slug = "host_not_found"
    template = "Compute host {host} could not be found."


class ServiceNotFound(NotFound):
    slug = "service_not_found"
    template = "Service {service} could not be found."
    remedy_template = "See GET /os-services for what there is."


class InstanceInvalidState(Conflict):
    slug = "instance_invalid_state"
    template = "Cannot '{method}' instance {uuid} while it is in {attribute} {state}"
    remedy_template = "{instead}"


class InstanceBusy(Conflict):
    """Nova's InstanceInvalidState(task_state), which here names what holds the server."""

    slug = "instance_busy"
    template = (
        "Cannot '{method}' instance {uuid} while it is in task_state {state}: migration {migration_id} of request {request_id} is {status}."
    )
    remedy_template = "Follow that migration, or abort it."
    retryable = True


class NotMigrating(Conflict):
    """Nova's InstanceInvalidState(task_state) where a migration is meant, which here says what became of that."""

    slug = "not_migrating"
    template = "Cannot '{method}' instance {uuid} now: {what}."
    remedy_template = "Send it while a live migration of the instance runs."


class InstanceLocked(Conflict):
    slug = "instance_locked"
    template = "Instance {uuid} is locked"
    remedy_template = "Unlock it first, or ask an administrator, who is not held off by a lock."


class ServerGroupNotFound(NotFound):
    slug = "server_group_not_found"
    template = "Instance group {uuid} could not be found."


class ServerInOtherGroup(Conflict):
    slug = "server_in_other_group"
    template = "Instance {uuid} is in server group {group} already."
    remedy_template = "Take it out of that group first."


class HostInUse(Conflict):
    slug = "host_in_use"
    template = "Unable to delete compute service that {what}: {host}."
    remedy_template = "{instead}"


class MarkerNotFound(Invalid):
    slug = "marker_not_found"
    template = "Marker {marker} could not be found."
    remedy_template = "Send as marker the id of the last item of the page before, or no marker for the first page."


class SortKeyInvalid(Invalid):
    slug = "sort_key_invalid"
    template = "Lists cannot be sorted by {key}."
    remedy_template = "Sort by one of: {accepted}."


class NamePatternInvalid(Invalid):
    slug = "name_pattern_invalid"
    template = "The name {pattern} is no regular expression: {problem}"
    remedy_template = "Send a part of the name, with a backslash before characters that are not to be read as a pattern."


class MoveUnsettled(Conflict):
    """A server whose state was reset while its last move waited: two hosts have a part of it."""

    slug = "move_unsettled"
    template = "Cannot '{method}' instance {uuid} while {host} keeps what its last move left there."
    remedy_template = "Confirm or revert that move first: confirmResize or revertResize."


class NotResized(Invalid):
    slug = "not_resized"
    template = "Instance has not been resized."
    remedy_template = "Migrate or resize instance {uuid} first; a confirmed or reverted one is done."


class FlavorUnchanged(Invalid):
    slug = "flavor_unchanged"
    template = "When resizing, instances must change flavor!"
    remedy_template = "Send another flavor, or migrate to keep this one."


class InvalidMigrationState(Invalid):
    slug = "invalid_migration_state"
    template = "Migration {migration_id} state of instance {uuid} is {state}. Cannot {method} while the migration is in this state."
    remedy_template = "It must be {wanted}."


class NarrowerAllowed(Forbidden):
    """Nova's Forbidden where the same request with less in it, or with its own project named, is allowed."""

    slug = "narrower_allowed"
    remedy_template = "Send {instead}."


class ScopeRefused(Forbidden):
    slug = "scope_refused"
    template = "The token is scoped to {scope}, and servers belong to projects."
    remedy_template = "Get a token that is scoped to a project: name the project and its domain when logging in."
