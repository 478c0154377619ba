# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.compare BEFORE AFTER`: two results of `make bench`, side by side, with their ratios."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from benchmarks import measures


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each number of the second."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    options = parser.parse_args(argv)
    before, after = (json.loads(path.read_text()) for path in (options.before, options.after))
    different = [name for name in ("processor", "processors", "kernel", "python") if before["machine"][name] != after["machine"][name]]
    if different:
        print(f"Not of one machine: {', '.join(different)} differ; only ratios within one result mean anything.")
    print("\n".join(measures.compared(before["measures"], after["measures"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
