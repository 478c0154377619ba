# SPDX-License-Identifier: Apache-2.0
"""Runs the lab's command as `python -m wherry.testing.lab`.

Must not hold anything else.
"""

from __future__ import annotations

import sys

from wherry.testing.lab import cli

if __name__ == "__main__":
    sys.exit(cli.main())
