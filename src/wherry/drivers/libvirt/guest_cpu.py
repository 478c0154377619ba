# SPDX-License-Identifier: Apache-2.0
"""Chooses the CPU of guests that are made, by the configuration and by what libvirt says of the host. Pure: asks no hypervisor."""

from __future__ import annotations

import re
from collections.abc import Callable

from wherry.drivers.libvirt import xml_reading

#: The hypervisor's own default, for which no element stands in a definition.
DEFAULT = ""
_ARCH_CAPABILITIES = "arch-capabilities"
#: What libvirt and QEMU say where a guest does not start because of its CPU; "CPUs" is about their number.
_ABOUT_CPU = re.compile(r"\b(CPU|MSR)\b")


def choices(mode: str, model: str, virtualization: str, domain_capabilities: Callable[[], str]) -> tuple[str, ...]:
    """Give the <cpu> elements that a guest may have, the best first, each to be tried when the one before does not start.

    One where the operator named the CPU: what was asked for is not exchanged for something else. The host's model is libvirt's
    guess at what works, so others follow it, the hypervisor's default as the last: it starts, but not every host takes it in.

    :param mode: [libvirt] cpu_mode.
    :param model: [libvirt] cpu_model, for the mode "custom".
    :param virtualization: "kvm" or "qemu"; without KVM the CPU is emulated, whatever the host has.
    :param domain_capabilities: asks libvirt for what this kind of guest may have; only where that matters.
    """
    if mode == "custom":
        return (f'<cpu mode="custom" match="exact"><model fallback="forbid">{model}</model></cpu>',)
    if mode == "none" or virtualization != "kvm":
        return (DEFAULT,)
    if mode != "host-model":
        return (f'<cpu mode="{mode}" />',)
    found = xml_reading.parse(domain_capabilities()).find("cpu/mode[@name='host-model']")
    if found is None or found.get("supported") != "yes":
        return (DEFAULT,)
    whole = '<cpu mode="host-model" />'
    if found.find(f"feature[@name='{_ARCH_CAPABILITIES}'][@policy='require']") is None:
        return (whole, DEFAULT)
    # The register behind this feature (MSR 0x10a) is Intel's. KVM imitates it for other processors too, and libvirt 9.0 lists it for them;
    # nested, KVM may then refuse what it offered, and QEMU 7.2 ends in an assertion: "failed to set MSR 0x10a". QEMU leaves the feature
    # out on AMD by itself from 10.1 on.
    without = f'<cpu mode="host-model"><feature policy="disable" name="{_ARCH_CAPABILITIES}" /></cpu>'
    return (whole, without, DEFAULT) if found.findtext("vendor") == "Intel" else (without, DEFAULT)


def is_to_blame(text: str) -> bool:
    """Say whether this is why a guest did not start: its CPU."""
    return _ABOUT_CPU.search(text) is not None
