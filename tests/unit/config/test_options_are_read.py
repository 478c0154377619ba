# SPDX-License-Identifier: Apache-2.0
"""An option that no code reads is a promise to the operator that nobody keeps."""

from __future__ import annotations

import pathlib
import re

import pytest

import wherry
from wherry import config
from wherry.config import option as opt

_ROOT = pathlib.Path(wherry.__file__).parent
#: Tests' own code reads options, too, and keeps no promise with it.
_SKIPPED = {"testing"}
_SOURCES = [path.read_text() for path in _ROOT.rglob("*.py") if path.relative_to(_ROOT).parts[0] not in _SKIPPED]
_OPTIONS = [option for section in config.SECTIONS.values() for option in opt.describe(section)]


@pytest.mark.parametrize("option", _OPTIONS, ids=lambda option: f"{option.section}.{option.name}")
def test_every_option_is_read_by_the_code(option: opt.Option) -> None:
    assert any(re.search(rf"\.{option.name}\b", source) for source in _SOURCES)
