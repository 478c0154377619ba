# SPDX-License-Identifier: Apache-2.0
"""Queries and bodies of a server's migrations."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

LIST = validation.Schema(("2.23", types.query({}, is_strict=False)), ("2.102", types.query({}, is_strict=True)))
SHOW = LIST
#: Strictly null: tempest holds Nova to refusing the string "null".
FORCE_COMPLETE = validation.Schema(("2.22", types.action("force_complete", types.NULL)))
RESUME_POST_COPY = validation.Schema(("2.1000", types.action("resume_post_copy", types.NULL)))
GIVE_UP = validation.Schema(("2.1000", types.action("give_up", types.NULL)))
