# SPDX-License-Identifier: Apache-2.0
"""What this machine can do for a lab: its programs, whether KVM really runs a guest, which qdiscs the kernel has.

Must not change anything on the machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil

from wherry.testing.lab import command, errors, payloads

QEMU = "/usr/bin/qemu-system-x86_64"
QBOOT = "/usr/share/qemu/qboot.rom"
LIBVIRTD = "/usr/sbin/libvirtd"

#: Program or file, and the Debian package that brings it.
REQUIRED = {
    "ip": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "nsenter": "util-linux",
    "iptables": "iptables",
    "gcc": "gcc",
    "ld": "binutils",
    "virsh": "libvirt-clients",
    LIBVIRTD: "libvirt-daemon",
    # Debian's libvirt-daemon works without a hypervisor; this is the one we want.
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so": "libvirt-daemon-driver-qemu",
    QEMU: "qemu-system-x86",
    QBOOT: "qemu-system-data",
    "qemu-img": "qemu-utils",
}

NEEDS_ROOT = "the lab needs root: it makes namespaces and network devices"

#: The payload's answer 33 to the debug-exit port ends QEMU with (33 << 1) | 1.
PROBE_STATUS = 67
PROBE_TIMEOUT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """How guests run here."""

    #: libvirt's domain type: kvm or qemu.
    kind: str
    #: Why it is not kvm; empty if it is.
    reason: str
    #: What kvm64 wants and this processor does not give, by libvirt's names.
    missing_features: tuple[str, ...]


def why_unavailable() -> str:
    """Say in one line why no lab can run here; empty if one can."""
    if os.geteuid() != 0:
        return NEEDS_ROOT
    packages = sorted({package for name, package in REQUIRED.items() if not _is_there(name)})
    if packages:
        return f"packages are missing: apt-get install --no-install-recommends {' '.join(packages)}"
    return ""


def require_root() -> None:
    """Raise unless we may touch a lab."""
    if os.geteuid() != 0:
        raise errors.LabUnavailable(NEEDS_ROOT)


def require() -> None:
    """Raise unless a lab can run here."""
    if reason := why_unavailable():
        raise errors.LabUnavailable(reason)


def probe_accelerator(payload_directory: pathlib.Path) -> Accelerator:
    """Run a guest of a few instructions under KVM, and under TCG if that fails.

    /dev/kvm alone proves nothing: nested in some clouds it opens and cannot run.
    """
    probe = payloads.build(payload_directory, "probe")
    reason = "there is no /dev/kvm" if not pathlib.Path("/dev/kvm").exists() else _why_not(probe, "kvm")
    if not reason:
        return Accelerator("kvm", "", _missing_features("kvm"))
    if broken := _why_not(probe, "tcg"):
        raise errors.LabUnavailable(f"QEMU cannot run a guest here, with KVM ({reason}) or without it ({broken})")
    return Accelerator("qemu", reason, _missing_features("tcg"))


def _is_there(name: str) -> bool:
    if name.startswith("/"):
        return pathlib.Path(name).exists()
    return shutil.which(name, path=command.ENVIRONMENT["PATH"]) is not None


def _why_not(probe: pathlib.Path, accelerator: str) -> str:
    argv = [
        *(QEMU, "-accel", accelerator, "-machine", "pc", "-cpu", "kvm64", "-m", "32", "-display", "none", "-nodefaults", "-no-user-config"),
        *("-bios", QBOOT, "-kernel", str(probe), "-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
    ]
    try:
        done = command.run_unchecked(argv, timeout_seconds=PROBE_TIMEOUT_SECONDS)
    except errors.LabError as problem:
        return str(problem)
    if done.returncode == PROBE_STATUS:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"QEMU ended with status {done.returncode}"


def _missing_features(accelerator: str) -> tuple[str, ...]:
    """Ask QEMU what it would have to leave out of kvm64; libvirt calls a CPU that lacks a feature incompatible."""
    asked = '{"execute":"qmp_capabilities"}{"execute":"query-cpu-definitions"}{"execute":"quit"}'
    argv = [QEMU, "-accel", accelerator, "-machine", "pc", "-display", "none", "-nodefaults", "-no-user-config", "-S", "-qmp", "stdio"]
    for line in command.run(argv, stdin=asked).splitlines():
        answer = json.loads(line).get("return")
        if isinstance(answer, list):
            # QEMU knows pni as sse3 too and svm, nx under one name: libvirt's map has the Linux names.
            return tuple(
                "pni" if feature == "sse3" else feature
                for model in answer
                if model["name"] == "kvm64"
                for feature in model.get("unavailable-features", [])
            )
    return ()
