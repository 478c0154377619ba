# SPDX-License-Identifier: Apache-2.0
"""The house's own judges find what they are meant to find, and nothing else."""

from __future__ import annotations

import pathlib

import pytest

from scripts import doc_links, house_rules, size_budget

HEAD = '# SPDX-License-Identifier: Apache-2.0\n"""What it is for."""\n\nfrom __future__ import annotations\n'


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("src/wherry/api/x.py", "record.status = 1", "assigns .status"),
        ("src/wherry/conductor/x.py", "a, record.status = 1, 2", "assigns .status"),
        ("src/wherry/conductor/x.py", "record.status: int = 1", "assigns .status"),
        ("src/wherry/db/repositories/migrations.py", "record.status = 1", ""),
        ("src/wherry/api/x.py", "x = record.status", ""),
        ("src/wherry/api/x.py", "import time\ntime.sleep(1)", "calls time.sleep"),
        ("tests/unit/x.py", "import time\ntime.sleep(1)", "calls time.sleep"),
        ("src/wherry/api/x.py", "import asyncio\nasyncio.sleep(1)", "calls asyncio.sleep"),
        ("src/wherry/api/x.py", "import asyncio\nasyncio.sleep(0)", ""),
        ("src/wherry/clock.py", "import asyncio\nasyncio.sleep(1)", ""),
        ("src/wherry/api/x.py", "x = 1  # no" + "qa", "without a code and a reason"),
        ("src/wherry/api/x.py", "x = 1  # no" + "qa: E501", "without a code and a reason"),
        ("src/wherry/api/x.py", "x = 1  # type: " + "ignore", "without a code and a reason"),
        ("src/wherry/api/x.py", "x = 1  # type: " + "ignore[misc]", "without a code and a reason"),
        ("src/wherry/api/x.py", "x = 1  # no" + "qa: E501 - the table is wide", ""),
        ("src/wherry/api/x.py", "x = 1  # type: " + "ignore[misc]  # no annotations there", ""),
        ("src/wherry/api/x.py", "x = 1  # TO" + "DO later", "leaves a note for later"),
        ("src/wherry/api/utils.py", "x = 1", "a name that fits everything"),
    ],
)
def test_a_line_against_the_house_rules_is_found(path: str, code: str, expected: str) -> None:
    found = list(house_rules.findings(path, f"{HEAD}\n{code}\n"))
    assert len(found) == (1 if expected else 0), found
    if expected:
        assert expected in found[0]
        assert found[0].startswith(f"{path}:")


def test_modules_start_alike() -> None:
    found = "\n".join(house_rules.findings("src/wherry/api/x.py", "x = 1\n"))
    assert "SPDX" in found
    assert "docstring" in found
    assert "annotations" in found


def _class(methods: int, lines: int = 0) -> str:
    body = "".join(f"    def m{number}(self): pass\n" for number in range(methods))
    return "class A:\n" + body + "    x = 1\n" * lines


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("src/a.py", "x = 1\n" * 500, ""),
        ("src/a.py", "x = 1\n" * 501, "501 lines; a module has at most 500"),
        ("tests/a.py", "x = 1\n" * 700, ""),
        ("tests/a.py", "x = 1\n" * 701, "701 lines"),
        ("src/a.py", _class(20), ""),
        ("src/a.py", _class(21), "21 public methods; at most 20"),
        ("src/a.py", _class(21).replace("def m0", "def _m0"), ""),
        ("src/a.py", _class(0, 249), ""),
        ("src/a.py", _class(0, 250), "class A has 251 lines"),
        ("src/a.py", "def f():\n" + "    x = 1\n" * 59, ""),
        ("src/a.py", "async def f():\n" + "    x = 1\n" * 60, "function f has 61 lines; at most 60"),
    ],
)
def test_what_is_over_its_budget_is_found(path: str, source: str, expected: str) -> None:
    found = list(size_budget.over_budget(pathlib.Path(path), source))
    assert len(found) == (1 if expected else 0), found
    if expected:
        assert expected in found[0]


def test_links_that_lead_nowhere_are_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "there.md").write_text("# A `heading` of it\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[ok](there.md) [ok](there.md#a-heading-of-it) [net](https://x.invalid/y) `[code](no.md)`\n"
        "[gone](gone.md) [gone](there.md#gone) ![gone](gone.svg)\n"
    )
    found = list(doc_links.broken_links(page))
    assert [line.split(": ")[1] for line in found] == [
        "gone.md leads to no file",
        "there.md#gone leads to no heading",
        "gone.svg leads to no file",
    ]
