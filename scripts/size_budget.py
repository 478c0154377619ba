# SPDX-License-Identifier: Apache-2.0
"""Hold modules, classes and functions to their size.

Raising a limit needs a decision under docs/adr, not an exception here.
"""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Iterator

MODULE_LINES = 500
TEST_MODULE_LINES = 700
CLASS_LINES = 250
CLASS_PUBLIC_METHODS = 20
FUNCTION_LINES = 60

ROOTS = ("src", "tests", "scripts", "benchmarks")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def over_budget(path: pathlib.Path, source: str) -> Iterator[str]:
    """Yield a line for everything in a module that is larger than it may be."""
    limit = TEST_MODULE_LINES if "tests" in path.parts else MODULE_LINES
    length = len(source.splitlines())
    if length > limit:
        yield f"{path}: {length} lines; a module has at most {limit}. Split it by idea."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _Function):
            yield from _judge_function(path, node)
        elif isinstance(node, ast.ClassDef):
            yield from _judge_class(path, node)


def _judge_function(path: pathlib.Path, node: _Function) -> Iterator[str]:
    length = _lines(node)
    if length > FUNCTION_LINES:
        yield f"{path}:{node.lineno}: function {node.name} has {length} lines; at most {FUNCTION_LINES}."


def _judge_class(path: pathlib.Path, node: ast.ClassDef) -> Iterator[str]:
    length = _lines(node)
    if length > CLASS_LINES:
        yield f"{path}:{node.lineno}: class {node.name} has {length} lines; at most {CLASS_LINES}."
    # A test class groups cases; how many there are says nothing about its interface.
    public = [item.name for item in node.body if isinstance(item, _Function) and not item.name.startswith(("_", "test_"))]
    if len(public) > CLASS_PUBLIC_METHODS:
        yield f"{path}:{node.lineno}: class {node.name} has {len(public)} public methods; at most {CLASS_PUBLIC_METHODS}."


def _lines(node: _Function | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def main() -> int:
    """Judge the whole tree."""
    paths = [path for root in ROOTS for path in sorted(pathlib.Path(root).rglob("*.py"))]
    found = [line for path in paths for line in over_budget(path, path.read_text())]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
