# SPDX-License-Identifier: Apache-2.0
"""The part of [libvirt] that says how guests are made.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses

from wherry.config import option as opt

_DIRECTORY = opt.matching(r"/.*[^/]", "an absolute path that does not end in a slash")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LibvirtGuestOptions:
    """Options of [libvirt] about guests that are made from images."""

    guest_directory: str = opt.option(
        "/var/lib/libvirt/images",
        "Directory on the hypervisor's host for the disks and consoles of guests that are made there; one that is missing is made. "
        "Shared between hosts, its guests move without their disks.",
        constraint=_DIRECTORY,
    )
    image_cache_directory: str = opt.option(
        "/var/lib/libvirt/images/wherry-base",
        "Directory on the hypervisor's host for images, which are brought there once and stay below the disks made from them.",
        constraint=_DIRECTORY,
    )
    image_cache_limit_gib: float = opt.option(
        0.0,
        "How much the images there may take; when another one is brought, those go that no disk is based on, the one first that was used "
        "longest ago. 0 means no limit.",
        constraint=opt.at_least(0),
        unit="GiB",
    )
    image_upload_timeout_seconds: float = opt.option(
        600.0,
        "Longest time for bringing one image to a host.",
        constraint=opt.at_least(1.0),
        unit="seconds",
    )
    suspend_timeout_seconds: float = opt.option(
        300.0,
        "Longest time for saving the memory of a guest that is suspended, and for starting one with what was saved.",
        constraint=opt.at_least(1.0),
        unit="seconds",
    )
    guest_bridge: str = opt.option(
        "",
        "Bridge of the hosts at which guests get their network interface. Empty: they get none.",
        constraint=opt.matching(r"[a-zA-Z0-9._-]{0,15}", "the name of a bridge"),
    )
    guest_machine_type: str = opt.option(
        "pc",
        "Machine type of guests that are made, pc or q35 or a versioned name.",
        constraint=opt.matching(r"[a-zA-Z0-9._-]{1,64}", "the name of a machine type"),
    )
    virt_type: str = opt.option(
        "auto",
        "How guests that are made run: kvm, or qemu, which emulates their processor and needs nothing of the host's. auto is kvm where "
        "libvirt says that the host has it.",
        constraint=opt.one_of("auto", "kvm", "qemu"),
    )
    cpu_mode: str = opt.option(
        "host-model",
        "CPU of guests that are made to run under KVM. host-model is the host's, which moves between like hosts; where guests do not start "
        "with all of it, it is that without what hinders them, or the hypervisor's default. host-passthrough is the host's very CPU, "
        "custom the one that cpu_model names, none the hypervisor's default. A guest that is emulated has that default, or the custom one.",
        constraint=opt.one_of("none", "host-model", "host-passthrough", "custom"),
    )
    cpu_model: str = opt.option(
        "",
        "Model for cpu_mode = custom, one that every host has, such as Nehalem.",
        constraint=opt.matching(r"[A-Za-z0-9._-]{0,64}", "the name of a CPU model"),
    )
