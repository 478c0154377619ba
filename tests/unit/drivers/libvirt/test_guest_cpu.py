# SPDX-License-Identifier: Apache-2.0
"""Which CPU a guest that is made gets, by the configuration and by what libvirt says of the host."""

from __future__ import annotations

import pytest

from wherry.drivers.libvirt import guest_cpu

pytestmark = [pytest.mark.unit]

_WHOLE = '<cpu mode="host-model" />'
_WITHOUT = '<cpu mode="host-model"><feature policy="disable" name="arch-capabilities" /></cpu>'


def _capabilities(vendor: str, *features: str, supported: str = "yes") -> str:
    named = "".join(f"<feature policy='{'disable' if one.startswith('-') else 'require'}' name='{one.lstrip('-')}'/>" for one in features)
    model = f"<model fallback='forbid'>some</model><vendor>{vendor}</vendor>{named}" if supported == "yes" else ""
    modes = f"<mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='{supported}'>{model}</mode>"
    return f"<domainCapabilities><domain>kvm</domain><cpu>{modes}</cpu></domainCapabilities>"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (_capabilities("Intel", "vmx"), (_WHOLE, guest_cpu.DEFAULT)),
        (_capabilities("Intel", "arch-capabilities"), (_WHOLE, _WITHOUT, guest_cpu.DEFAULT)),
        # No first try that is known to fail where the host is nested.
        (_capabilities("AMD", "svm", "arch-capabilities"), (_WITHOUT, guest_cpu.DEFAULT)),
        (_capabilities("AMD", "-arch-capabilities"), (_WHOLE, guest_cpu.DEFAULT)),
        (_capabilities("AMD", supported="no"), (guest_cpu.DEFAULT,)),
        ("<domainCapabilities/>", (guest_cpu.DEFAULT,)),
    ],
)
def test_the_hosts_model_is_what_starts_there(found: str, expected: tuple[str, ...]) -> None:
    assert guest_cpu.choices("host-model", "", "kvm", lambda: found) == expected


@pytest.mark.parametrize(
    ("mode", "virtualization", "expected"),
    [
        ("host-model", "qemu", guest_cpu.DEFAULT),
        ("host-passthrough", "qemu", guest_cpu.DEFAULT),
        ("none", "kvm", guest_cpu.DEFAULT),
        ("host-passthrough", "kvm", '<cpu mode="host-passthrough" />'),
        ("custom", "kvm", '<cpu mode="custom" match="exact"><model fallback="forbid">Nehalem</model></cpu>'),
        ("custom", "qemu", '<cpu mode="custom" match="exact"><model fallback="forbid">Nehalem</model></cpu>'),
    ],
)
def test_what_was_asked_for_is_not_exchanged(mode: str, virtualization: str, expected: str) -> None:
    def ask() -> str:
        raise AssertionError("libvirt need not be asked")

    assert guest_cpu.choices(mode, "Nehalem" if mode == "custom" else "", virtualization, ask) == (expected,)


@pytest.mark.parametrize(
    ("text", "is_cpu"),
    [
        ("process exited while connecting to monitor: qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69", True),
        ("the CPU is incompatible with host CPU: Host CPU does not provide required features: svm", True),
        ("Maximum CPUs greater than specified machine type limit 255", False),
        ("Cannot get interface MTU on 'br0': No such device", False),
    ],
)
def test_whether_the_cpu_is_to_blame(text: str, is_cpu: bool) -> None:
    assert guest_cpu.is_to_blame(text) is is_cpu
