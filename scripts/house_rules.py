# SPDX-License-Identifier: Apache-2.0
"""Rules of this house that no general linter knows.

Each finding names what to write instead.
"""

from __future__ import annotations

import ast
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

LICENSE_LINE = "# SPDX-License-Identifier: Apache-2.0"
ROOTS = ("src", "tests", "scripts", "benchmarks")

#: Code that may wait by the wall clock without a Clock: the clock itself, and what drives real programs.
_MAY_SLEEP = ("src/wherry/clock.py", "src/wherry/testing/", "tests/", "benchmarks/", "scripts/")
#: The only code that stores a status, and code that never holds a record.
_MAY_ASSIGN_STATUS = ("src/wherry/db/repositories/", "src/wherry/testing/", "src/wherry/cli/")
_BARE_IGNORE = re.compile(r"#\s*(noqa(?!:)|noqa:\s*[A-Z0-9, ]+$|type:\s*ignore(?!\[)|type:\s*ignore\[[^\]]*\]\s*$)")
_LEFTOVER = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
_FORBIDDEN_NAMES = {"utils.py", "common.py", "helpers.py", "misc.py", "manager.py"}

Rule = Callable[[str, ast.Module, str], Iterator[tuple[int, str]]]


def status_is_stored_by_repositories_only(path: str, tree: ast.Module, _source: str) -> Iterator[tuple[int, str]]:
    """One write path for state: a status changes by a repository's transition, with its event."""
    if path.startswith(_MAY_ASSIGN_STATUS) or not path.startswith("src/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            written = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            written = [node.target]
        else:
            continue
        for item in (part for one in written for part in ast.walk(one)):
            if isinstance(item, ast.Attribute) and item.attr == "status" and isinstance(item.ctx, ast.Store):
                yield item.lineno, "assigns .status; a status changes only by db.repositories (transition), which stores its event too"


def nobody_blocks_in_sleep(path: str, tree: ast.Module, _source: str) -> Iterator[tuple[int, str]]:
    """time.sleep blocks the loop and makes tests slow or flaky; asyncio.sleep escapes virtual time."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"):
            continue
        module = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if module == "time":
            yield node.lineno, "calls time.sleep; wait on a condition with a deadline instead"
        elif module == "asyncio" and not path.startswith(_MAY_SLEEP) and not _is_zero(node):
            yield node.lineno, "calls asyncio.sleep; use the Clock that was handed down, so that virtual time works"


def _is_zero(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def ignores_have_code_and_reason(_path: str, _tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """Whoever silences a checker says which finding and why."""
    for number, line in enumerate(source.splitlines(), 1):
        if _BARE_IGNORE.search(line.rstrip()):
            yield number, "silences a checker without a code and a reason; write `# noqa: CODE - why` or `# type: ignore[code]  # why`"


def nothing_is_left_for_later(_path: str, _tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """What is missing stands in an issue, not in a comment."""
    for number, line in enumerate(source.splitlines(), 1):
        if _LEFTOVER.search(line):
            yield number, "leaves a note for later; do it or write an issue"


def modules_start_alike(path: str, tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """A licence line, a docstring that says what the module is for, lazy annotations, and a name that says it."""
    if not source.strip():
        return
    if source.splitlines()[0] != LICENSE_LINE:
        yield 1, f"does not start with {LICENSE_LINE!r}"
    if path.rpartition("/")[2] in _FORBIDDEN_NAMES:
        yield 1, "has a name that fits everything; name the one idea it holds"
    if path.startswith("src/") and ast.get_docstring(tree) is None:
        yield 1, "has no docstring; say what it is for and what it must not do"
    has_code = any(not isinstance(node, ast.Expr) for node in tree.body)
    if has_code and not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body):
        yield 1, "lacks `from __future__ import annotations`"


RULES: tuple[Rule, ...] = (
    status_is_stored_by_repositories_only,
    nobody_blocks_in_sleep,
    ignores_have_code_and_reason,
    nothing_is_left_for_later,
    modules_start_alike,
)


def findings(path: str, source: str) -> Iterator[str]:
    """Yield a line for each breach of a rule in one module."""
    tree = ast.parse(source)
    for rule in RULES:
        for number, text in rule(path, tree, source):
            yield f"{path}:{number}: {text}"


def main() -> int:
    """Judge the whole tree."""
    paths = [path for root in ROOTS for path in sorted(pathlib.Path(root).rglob("*.py"))]
    # This module names what it looks for.
    found = [line for path in paths if path.name != "house_rules.py" for line in findings(path.as_posix(), path.read_text())]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
