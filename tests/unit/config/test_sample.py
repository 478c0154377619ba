# SPDX-License-Identifier: Apache-2.0
"""The sample file and the reference page tell the truth and are fresh."""

from __future__ import annotations

import pathlib
import re

import pytest

from scripts import generate
from wherry import config
from wherry.config import option as opt
from wherry.config import sample

ROOT = pathlib.Path(__file__).parents[3]


def test_the_sample_loads_as_it_is_and_with_every_option_uncommented(tmp_path: pathlib.Path) -> None:
    """Uncommenting everything changes nothing: each line shows the default."""
    path = tmp_path / "wherry.conf"
    path.write_text(sample.sample_text())
    assert config.load([path], {}) == config.load([], {}, {"oslo_policy": {"policy_file": str(tmp_path / "policy.yaml")}})
    bare = re.sub(r"(?m)^#(?=\w+ =)", "", sample.sample_text())
    assert bare.count("\nbind_port = 8774\n") == 1
    path.write_text(bare)
    assert config.load([path], {}) == config.load([], {}, {"oslo_policy": {"policy_file": str(tmp_path / "policy.yaml")}})


@pytest.mark.parametrize("text", [sample.sample_text(), sample.reference_text()], ids=["sample", "reference"])
def test_every_option_and_section_appears(text: str) -> None:
    for section in config.SECTIONS.values():
        assert f"[{section.SECTION}]" in text
        for option in opt.describe(section):
            assert option.name in text


@pytest.mark.parametrize("section", config.SECTIONS.values(), ids=list(config.SECTIONS))
def test_options_say_what_they_are_for_and_count(section: type[opt.Section]) -> None:
    """A help text is a sentence; a number of seconds, bytes or MiB says so."""
    for option in opt.describe(section):
        assert option.help.endswith("."), option.name
        assert len(option.help) > 15, option.name
        if option.name.endswith("_seconds"):
            assert option.unit == "seconds", option.name


@pytest.mark.parametrize("name", generate.GENERATORS)
def test_generated_pages_are_fresh(name: str) -> None:
    """Run scripts/gen when this fails."""
    assert (ROOT / name).read_text() == generate.text_of(generate.GENERATORS[name])


def test_a_stale_page_is_found(tmp_path: pathlib.Path) -> None:
    """The check compares contents, not the mere presence of a file."""
    assert {path.relative_to(tmp_path).as_posix() for path, _, _ in generate.stale(tmp_path)} == set(generate.GENERATORS)
    for path, _, new in list(generate.stale(tmp_path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new)
    assert not list(generate.stale(tmp_path))
