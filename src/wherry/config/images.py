# SPDX-License-Identifier: Apache-2.0
"""[images]: what servers can be made from.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImagesSection:
    """Options of [images]."""

    SECTION: ClassVar[str] = "images"
    ABOUT: ClassVar[str] = "The images that servers are made from."

    directory: str = opt.option(
        "",
        "Directory of image files and their index, which `wherry image add` fills. The api reads its index, an agent its files: "
        "every machine that runs one of them needs the same directory.",
        derived="STATE_PATH/images",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
