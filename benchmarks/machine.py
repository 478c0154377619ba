# SPDX-License-Identifier: Apache-2.0
"""Facts of the machine that a result belongs to. Must not say where on it anything is, nor whose it is."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import subprocess

from wherry import __version__


def facts() -> dict[str, str | int]:
    """Describe processor, memory, kernel, and the versions of what takes part."""
    return {
        "processor": _first(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo")),
        "processors": os.cpu_count() or 0,
        "memory_mib": int(_first(r"MemTotal:\s*(\d+)", _read("/proc/meminfo")) or 0) // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libvirt": _first(r"([\d.]+)", _said("libvirtd", "--version")),
        "qemu": _first(r"version ([\d.]+)", _said("qemu-system-x86_64", "--version")),
        "wherry": __version__,
        "commit": _said("git", "describe", "--always", "--dirty").strip(),
    }


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10).stdout
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else ""
