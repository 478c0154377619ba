# SPDX-License-Identifier: Apache-2.0
"""A real Keystone for tests, from an environment of its own.

Must not be imported by production code.
"""

from __future__ import annotations

from wherry.testing.keystone.identity import Keystone
from wherry.testing.keystone.process import PASSWORD, Process, missing

__all__ = ["PASSWORD", "Keystone", "Process", "missing"]
