# SPDX-License-Identifier: Apache-2.0
"""[simulated]: the fleet that the simulated driver pretends to be.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedSection:
    """Options of [simulated]."""

    SECTION: ClassVar[str] = "simulated"
    ABOUT: ClassVar[str] = "The simulated driver, for demonstrations, benchmarks and tests."

    scenario_file: str | None = opt.option(
        None,
        "YAML file that describes hosts, guests, links and faults. Nothing: a small fleet.",
    )
    time_factor: float = opt.option(
        1.0,
        "Simulated seconds that pass in one real second.",
        constraint=opt.at_least(0.001),
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
