# SPDX-License-Identifier: Apache-2.0
"""Drivers are found by name, and a name that nobody has is answered with those that exist."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.drivers import registry

pytestmark = [pytest.mark.unit]


def test_our_drivers_are_known_by_name() -> None:
    assert {"libvirt", "simulated"} <= set(registry.known())
    assert callable(registry.load("simulated"))


def test_an_unknown_driver_is_answered_with_the_known_ones() -> None:
    with pytest.raises(errors.ConfigInvalid) as refusal:
        registry.load("vmware")
    assert "'vmware'" in refusal.value.message
    assert "libvirt, simulated" in refusal.value.remedy
