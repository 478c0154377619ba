# SPDX-License-Identifier: Apache-2.0
"""States, jobs and errors of libvirt mean what they were seen to mean in the lab."""

from __future__ import annotations

import errno
from typing import Any

import libvirt
import pytest

from wherry import errors
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import job, observe
from wherry.model import guest

pytestmark = [pytest.mark.unit]
_S = guest.GuestState


@pytest.mark.parametrize(
    ("state", "reason", "is_incoming", "expected"),
    [
        ("RUNNING", "RUNNING_BOOTED", False, _S.RUNNING),
        ("RUNNING", "RUNNING_MIGRATED", True, _S.RUNNING),
        ("RUNNING", "RUNNING_MIGRATION_CANCELED", False, _S.RUNNING),
        ("RUNNING", "RUNNING_POSTCOPY", True, _S.POST_COPY),
        ("RUNNING", "RUNNING_POSTCOPY_FAILED", True, _S.POST_COPY_FAILED),
        ("PAUSED", "PAUSED_USER", False, _S.PAUSED),
        ("PAUSED", "PAUSED_USER", True, _S.PAUSED),
        ("PAUSED", "PAUSED_IOERROR", False, _S.PAUSED),
        ("PAUSED", "PAUSED_MIGRATION", False, _S.PAUSED_FOR_SWITCH_OVER),
        ("PAUSED", "PAUSED_STARTING_UP", True, _S.PAUSED_FOR_SWITCH_OVER),
        ("PAUSED", "PAUSED_STARTING_UP", False, _S.PAUSED),
        ("PAUSED", "PAUSED_POSTCOPY", False, _S.POST_COPY),
        ("PAUSED", "PAUSED_POSTCOPY_FAILED", False, _S.POST_COPY_FAILED),
        ("SHUTDOWN", "SHUTDOWN_USER", False, _S.RUNNING),
        ("SHUTOFF", "SHUTOFF_MIGRATED", False, _S.SHUT_OFF),
        ("CRASHED", "CRASHED_UNKNOWN", False, _S.SHUT_OFF),
    ],
)
def test_a_domain_state_and_its_reason_mean_a_guest_state(state: str, reason: str, is_incoming: bool, expected: guest.GuestState) -> None:
    numbers = [getattr(libvirt, f"VIR_DOMAIN_{name}") for name in (state, reason)]
    assert observe.guest_state(*numbers, is_incoming=is_incoming) is expected


def _error(code: int, *, first_number: int = 0) -> libvirt.libvirtError:
    made = libvirt.libvirtError("text")
    made.err = (code, libvirt.VIR_FROM_QEMU, "text", 2, None, None, None, first_number, -1)
    return made


class _Domain:
    def __init__(self, answer: dict[str, Any] | libvirt.libvirtError) -> None:
        self._answer = answer

    def jobStats(self) -> dict[str, Any]:
        if isinstance(self._answer, libvirt.libvirtError):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"type": libvirt.VIR_DOMAIN_JOB_NONE}, ""),
        ({"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT}, "migration out"),
        # Ended, and shown until it is cleared away: still there.
        ({"type": libvirt.VIR_DOMAIN_JOB_CANCELLED, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT}, "migration out"),
        ({"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP}, "dump"),
        (_error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED), "migration in"),
        (_error(libvirt.VIR_ERR_OPERATION_INVALID), ""),
    ],
)
def test_a_job_is_told_by_its_operation(answer: dict[str, Any] | libvirt.libvirtError, name: str) -> None:
    found = job.read(_Domain(answer))
    assert found.name == name
    assert found.is_migration is name.startswith("migration")


def test_an_error_while_reading_a_job_is_not_a_job() -> None:
    with pytest.raises(libvirt.libvirtError):
        job.read(_Domain(_error(libvirt.VIR_ERR_NO_DOMAIN)))


def test_counters_are_in_bytes_and_downtime_is_expected_until_the_end() -> None:
    statistics = {
        "memory_total": 100,
        "memory_processed": 120,
        "memory_remaining": 30,
        "disk_total": 5,
        "memory_iteration": 2,
        "memory_dirty_rate": 3,
        "memory_page_size": 4096,
        "memory_bps": 77,
        "downtime": 40,
        "time_elapsed": 900,
    }
    running = job.to_progress(statistics)
    assert (running.memory_total_bytes, running.memory_processed_bytes, running.memory_remaining_bytes) == (100, 120, 30)
    assert (running.dirty_bytes_per_second, running.memory_bytes_per_second, running.disk_total_bytes) == (3 * 4096, 77, 5)
    assert (running.expected_downtime_ms, running.downtime_ms, running.elapsed_ms, running.iteration) == (40, None, 900, 2)
    ended = job.to_progress(statistics, is_ended=True)
    assert (ended.expected_downtime_ms, ended.downtime_ms) == (None, 40)


def test_errors_say_whether_anything_is_known() -> None:
    failure = libvirt_errors.translate(_error(libvirt.VIR_ERR_OPERATION_FAILED), "h1", "pause the guest", is_connected=True)
    assert isinstance(failure, errors.HypervisorFailure) and failure.fields["what"] == "pause the guest"
    assert isinstance(libvirt_errors.translate(_error(1), "h1", "x", is_connected=False), errors.HypervisorUnavailable)
    locked = libvirt_errors.translate(_error(libvirt.VIR_ERR_OPERATION_TIMEOUT), "h1", "x", is_connected=True)
    assert isinstance(locked, errors.HypervisorUnavailable)
    missing = _error(libvirt.VIR_ERR_SYSTEM_ERROR, first_number=errno.ENOENT)
    assert libvirt_errors.is_missing_file(missing)
    assert not libvirt_errors.is_missing_file(_error(libvirt.VIR_ERR_SYSTEM_ERROR, first_number=errno.EACCES))
