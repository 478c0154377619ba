# SPDX-License-Identifier: Apache-2.0
"""Contract: a guest is paused, let run, started, asked to shut down and powered off where it is, twice as well as once."""

from __future__ import annotations

import uuid

import pytest

from wherry import errors
from wherry.model import guest
from wherry.testing.driver_contract.harness import GuestWish, Harness, Storage

_S = guest.GuestState


class PoweringContract:
    """Pause, resume, start, shut down, power off, suspend."""

    async def test_a_guest_is_paused_and_runs_on(self, harness: Harness) -> None:
        driver, instance_uuid = harness.source_driver, await harness.create_guest(GuestWish())
        if not harness.capabilities.pause:
            with pytest.raises(errors.Unsupported):
                await driver.pause_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING
            return
        for _ in range(2):
            await driver.pause_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.PAUSED
        for _ in range(2):
            await driver.resume_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING

    async def test_a_guest_is_powered_off_and_started_with_what_it_had(self, harness: Harness) -> None:
        driver, instance_uuid = harness.source_driver, await harness.create_guest(GuestWish(storage=Storage.PRIVATE))
        if not harness.capabilities.power:
            for act in (driver.start_guest, driver.shut_down_guest, driver.power_off_guest):
                with pytest.raises(errors.Unsupported):
                    await act(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING
            return
        (before,) = await driver.describe_guests([instance_uuid])
        files = await harness.files(harness.source)
        await driver.start_guest(instance_uuid)
        for _ in range(2):
            await driver.power_off_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.SHUT_OFF
        await driver.shut_down_guest(instance_uuid)
        assert await harness.files(harness.source) == files
        for _ in range(2):
            await driver.start_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING
        (after,) = await driver.describe_guests([instance_uuid])
        assert (after.name, after.memory_mib, [disk.source for disk in after.disks]) == (
            before.name,
            before.memory_mib,
            [disk.source for disk in before.disks],
        )

    async def test_a_guest_that_is_asked_to_shut_down_is_given_its_time(self, harness: Harness) -> None:
        """The call comes back at once; whether the guest heeds it is the guest's affair, and its power can be taken meanwhile."""
        if not harness.capabilities.power:
            return  # refused: see the test above
        driver, instance_uuid = harness.source_driver, await harness.create_guest(GuestWish())
        await driver.shut_down_guest(instance_uuid)
        await driver.shut_down_guest(instance_uuid)
        assert await _state(harness, instance_uuid) in (_S.RUNNING, _S.SHUT_OFF)
        await driver.power_off_guest(instance_uuid)
        assert await _state(harness, instance_uuid) is _S.SHUT_OFF

    async def test_a_guest_is_suspended_and_goes_on(self, harness: Harness) -> None:
        driver, instance_uuid = harness.source_driver, await harness.create_guest(GuestWish())
        if not harness.capabilities.suspend:
            with pytest.raises(errors.Unsupported):
                await driver.suspend_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING
            return
        for _ in range(2):
            await driver.suspend_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.SHUT_OFF
        for _ in range(2):
            await driver.start_guest(instance_uuid)
            assert await _state(harness, instance_uuid) is _S.RUNNING
        await driver.suspend_guest(instance_uuid)
        # What was saved goes with the power: nothing is left that could be suspended.
        await driver.power_off_guest(instance_uuid)
        with pytest.raises(errors.HypervisorFailure):
            await driver.suspend_guest(instance_uuid)
        await driver.start_guest(instance_uuid)
        assert await _state(harness, instance_uuid) is _S.RUNNING

    async def test_a_guest_that_is_not_here_cannot_be_powered(self, harness: Harness) -> None:
        driver, unknown = harness.source_driver, str(uuid.uuid4())
        acts = [driver.resume_guest]
        if harness.capabilities.pause:
            acts.append(driver.pause_guest)
        if harness.capabilities.power:
            acts += [driver.start_guest, driver.shut_down_guest, driver.power_off_guest]
        if harness.capabilities.suspend:
            acts.append(driver.suspend_guest)
        for act in acts:
            with pytest.raises(errors.GuestNotFound):
                await act(unknown)


async def _state(harness: Harness, instance_uuid: str) -> guest.GuestState:
    return (await harness.source_driver.observe_guest(instance_uuid)).state
