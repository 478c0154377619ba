# SPDX-License-Identifier: Apache-2.0
"""A real Glance for tests, from an environment of its own, which believes a real Keystone.

Must not be imported by production code.
"""

from __future__ import annotations

from wherry.testing.glance.process import Glance, missing

__all__ = ["Glance", "missing"]
