# SPDX-License-Identifier: Apache-2.0
"""`make tempest`: OpenStack's own acceptance suite against a real Keystone and a whole Wherry.

Must not judge answers itself: what passes is for tempest to say. Which classes must have run is said here.
"""

from __future__ import annotations
