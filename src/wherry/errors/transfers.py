# SPDX-License-Identifier: Apache-2.0
"""What goes wrong at a hypervisor or in a transfer."""

from __future__ import annotations

from wherry.errors.tree import Conflict, Internal, NotFound, Unavailable


class HypervisorUnavailable(Unavailable):
    """The hypervisor does not answer; nothing is known about its guests."""

    slug = "hypervisor_unavailable"
    template = "The hypervisor of {host} does not answer: {detail}"
    remedy_template = "See whether the hypervisor's daemon runs on {host}."


class BuildFailed(Internal):
    slug = "build_failed"
    template = "Host {host} could not build guest {uuid}: {detail}"


class ImageCorrupt(Internal):
    slug = "image_corrupt"
    template = "The bytes of image {image} are not those that were promised: {detail}"
    remedy_template = "Put the image into its place anew."


class GuestNotFound(NotFound):
    slug = "guest_not_found"
    template = "Host {host} has no guest {uuid}."


class GuestNotLasting(Conflict):
    """A guest without a lasting definition: once it is off, nothing is left that could be started."""

    slug = "guest_not_lasting"
    template = "Guest {uuid} is transient on {host}: nothing of it but its disks would be left once it is off."
    remedy_template = "Define it at the hypervisor of {host} first, with virsh define for example."


class GuestActive(Conflict):
    """A guest was to be off where it is only kept, and is not: somebody started it."""

    slug = "guest_active"
    template = "Guest {uuid} is {state} on {host}, where it should be off."
    remedy_template = "Shut it down at the hypervisor of {host}, if it is not the one that is needed."


class NoActiveTransfer(Conflict):
    slug = "no_active_transfer"
    template = "Guest {uuid} has no migration in progress on {host}."


class PostCopyUnderWay(Conflict):
    """An abort came after the switch to post-copy: the source's memory is stale."""

    slug = "post_copy_under_way"
    template = "Guest {uuid} runs at its destination already; its migration can no longer be aborted."


class PostCopyNotBroken(Conflict):
    """A broken post-copy was to be resumed or given up, and this one is not broken."""

    slug = "post_copy_not_broken"
    template = "Migration {migration_id} of instance {uuid} is {state}, and no post-copy of it is broken."
    remedy_template = "Ask for it when the migration's reason is post_copy_broken."


class TransferRefused(Conflict):
    """The hypervisor refused to start the transfer; the guest runs on at the source."""

    slug = "transfer_refused"
    template = "The hypervisor refused to start the transfer of {uuid}: {detail}"


class PreparationFailed(Internal):
    slug = "preparation_failed"
    template = "Host {host} could not prepare for {uuid}: {detail}"


class HypervisorFailure(Internal):
    """The hypervisor failed at something it was asked to do."""

    slug = "hypervisor_failure"
    template = "The hypervisor of {host} failed to {what}: {detail}"
