# SPDX-License-Identifier: Apache-2.0
"""[oslo_policy]: where operators write who may do what.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PolicySection:
    """Options of [oslo_policy]."""

    SECTION: ClassVar[str] = "oslo_policy"
    ABOUT: ClassVar[str] = "Rules that say who may do what."

    policy_file: str = opt.option(
        "policy.yaml",
        "File with rules that replace the built-in ones; a relative name is looked for beside the configuration file. "
        "It must exist, unless it is called policy.yaml.",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
