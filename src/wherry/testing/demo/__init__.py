# SPDX-License-Identifier: Apache-2.0
"""`make demo`: live migrations through the Compute API, each claim checked before it is printed as true.

Must not reach into Wherry: it starts the shipped command and talks HTTP, as a user would.
"""

from __future__ import annotations
