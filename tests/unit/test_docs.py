# SPDX-License-Identifier: Apache-2.0
"""The pages name files, options, commands, statuses and events; all of these are there."""

from __future__ import annotations

import pathlib
import re

import pytest

from scripts import doc_links
from wherry.config import option as opt
from wherry.config import tree
from wherry.model import instance_actions, states

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_PATH = re.compile(r"`((?:src|tests|docs|scripts|etc|benchmarks|changelog\.d|requirements)/[\w./-]+)`")
#: Paths with a part to be filled in, or made by what is described.
_PATTERNS = ("NNN", "<")
_OPTION = re.compile(r"`(?:\[(?P<section>\w+)\] )(?P<option>[a-z_]+)(?: = [^`]*)?`")
_MAKE = re.compile(r"\bmake ([a-z-]+)")
_SECTIONS = {section.SECTION: {option.name for option in opt.describe(section)} for section in tree.SECTIONS.values()}
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_file_that_a_page_names_is_there(name: str) -> None:
    named = {path for path in _PATH.findall(_text(name)) if not any(part in path for part in _PATTERNS)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_link_leads_somewhere(name: str) -> None:
    assert list(doc_links.broken_links(ROOT / name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_option_that_a_page_names_with_its_section_is_there(name: str) -> None:
    # A line may end within the name.
    found = _OPTION.finditer(_text(name).replace("\n", " "))
    unknown = [match[0] for match in found if match["option"] not in _SECTIONS.get(match["section"], ())]
    assert unknown == []


@pytest.mark.parametrize("name", NAMES)
def test_each_make_target_that_a_page_names_is_there(name: str) -> None:
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", _text(name), re.DOTALL))
    assert set(_MAKE.findall(code)) - _TARGETS == set()


def test_the_page_of_statuses_has_each_of_them_and_each_event() -> None:
    page = _text("docs/reference/statuses-and-events.md")
    rows = {cell for line in page.splitlines() if line.startswith("|") for cell in re.findall(r"`([^`]+)`", line)}
    assert {str(status) for status in states.Status} <= rows
    assert {str(event) for event in instance_actions.EventName} <= rows


def test_every_page_of_docs_can_be_reached_from_its_index() -> None:
    reached: set[pathlib.Path] = set()
    waiting = [ROOT / "docs/README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
        waiting.extend((page.parent / link).resolve() for link in links if "://" not in link)
    assert [page.as_posix() for page in sorted((ROOT / "docs").rglob("*.md")) if page not in reached] == []
