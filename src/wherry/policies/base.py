# SPDX-License-Identifier: Apache-2.0
"""The rules that the others are made of, and the shape of a rule.

Names and defaults are Nova's, so that an operator's policy.yaml keeps its meaning.
"""

from __future__ import annotations

import dataclasses

#: What a check may say, in oslo.policy's language.
ADMIN = "rule:context_is_admin"
#: Whoever has a token.
ANYBODY = "@"
PROJECT_READER_OR_ADMIN = "rule:project_reader_or_admin"
PROJECT_MEMBER_OR_ADMIN = "rule:project_member_or_admin"
PROJECT_MANAGER_OR_ADMIN = "rule:project_manager_or_admin"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule with its default."""

    name: str
    check: str
    description: str
    #: What it guards, as "METHOD /path"; empty for a rule that only others use.
    operations: tuple[str, ...] = ()


RULES = (
    Rule(name="context_is_admin", check="role:admin", description="Whether the caller is an administrator."),
    Rule(
        name="project_reader_api",
        check="role:reader and project_id:%(project_id)s",
        description="Whether the caller may read in the project concerned.",
    ),
    Rule(
        name="project_member_api",
        check="role:member and project_id:%(project_id)s",
        description="Whether the caller is a member of the project concerned.",
    ),
    Rule(
        name="project_manager_api",
        check="role:manager and project_id:%(project_id)s",
        description="Whether the caller manages the project concerned.",
    ),
    Rule(
        name="project_reader_or_admin",
        check="rule:project_reader_api or rule:context_is_admin",
        description="A reader of the project concerned, or an administrator.",
    ),
    Rule(
        name="project_member_or_admin",
        check="rule:project_member_api or rule:context_is_admin",
        description="A member of the project concerned, or an administrator.",
    ),
    Rule(
        name="project_manager_or_admin",
        check="rule:project_manager_api or rule:context_is_admin",
        description="A manager of the project concerned, or an administrator.",
    ),
)
