# SPDX-License-Identifier: Apache-2.0
"""Wherry: a live-migration control plane for KVM fleets.

Holds the version and nothing else; importing it must stay free of side effects.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"
