# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the lab, each as one line that says what to do.

Must not depend on the product's error tree: the lab is a tool beside it, not a part of it.
"""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do what was asked; the message is one line for a person."""


class LabUnavailable(LabError):
    """This machine cannot run a lab: not root, or a package or a kernel feature is missing."""


class CommandFailed(LabError):
    """A program that the lab ran said no."""

    def __init__(self, argv: list[str], status: int, stderr: str) -> None:
        self.argv = argv
        self.exit_status = status
        self.stderr = stderr.strip()
        said = " ".join(self.stderr.split()) or "it said nothing"
        super().__init__(f"{' '.join(argv[:6])}{' …' if len(argv) > 6 else ''} ended with status {status}: {said}")
