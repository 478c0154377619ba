# SPDX-License-Identifier: Apache-2.0
"""The page of deliberate differences from Nova: each line names a test, and the test is there."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/differences.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| what |")]
HELD_BY = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$")


def test_the_page_is_not_empty() -> None:
    assert len(ROWS) >= 20


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_each_difference_is_held_by_a_test(row: str) -> None:
    named = HELD_BY.search(row)
    assert named is not None, f"no test is named in: {row}"
    tree = ast.parse((ROOT / named[1]).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert named[2] in functions
