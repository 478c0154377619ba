# SPDX-License-Identifier: Apache-2.0
"""Write the pages that are made from code, or check that they are fresh.

A generator is a function without arguments that returns the text of one file.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterator

#: File -> the function that returns its text.
GENERATORS = {
    "etc/wherry.conf.sample": "wherry.config.sample:sample_text",
    "etc/policy.yaml.sample": "wherry.policies.sample:sample_text",
    "docs/generated/states.mmd": "wherry.model.states:diagram",
    "docs/reference/capability-matrix.md": "wherry.testing.capability_matrix:reference_text",
    "docs/reference/configuration.md": "wherry.config.sample:reference_text",
    "docs/reference/errors.md": "wherry.api.reference:errors_text",
    "docs/reference/routes.md": "wherry.api.reference:routes_text",
}


def text_of(generator: str) -> str:
    """Call a generator given as module:function."""
    module, _, function = generator.partition(":")
    text: str = getattr(importlib.import_module(module), function)()
    return text


def stale(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, str]]:
    """Yield path, text there and text that should be there, for every page that differs."""
    for name, generator in GENERATORS.items():
        path = root / name
        old = path.read_text() if path.exists() else ""
        new = text_of(generator)
        if old != new:
            yield path, old, new


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(prog="scripts/gen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    arguments = parser.parse_args()
    pages = list(stale(pathlib.Path()))
    for path, old, new in pages:
        if arguments.check:
            print(f"{path} is stale; run scripts/gen and commit it")
            difference = difflib.unified_diff(old.splitlines(), new.splitlines(), "committed", "generated", lineterm="", n=0)
            print("\n".join(list(difference)[:12]))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new)
            print(f"wrote {path}")
    return 1 if pages and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
