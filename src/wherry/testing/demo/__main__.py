# SPDX-License-Identifier: Apache-2.0
"""Runs the demo from start to clean-up. Ends with 0 only if every claim that was printed was found true."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from wherry.testing import lab as labs
from wherry.testing.demo import errors, play, pretended, process, real, show, signals, site

WORKPLACE = "wherry-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m wherry.testing.demo", description=__doc__)
    parser.add_argument("--driver", choices=("auto", "libvirt", "simulated"), default="auto", help="auto: real guests where possible")
    parser.add_argument(
        "--time-factor", type=float, default=1.0, metavar="N", help="simulated seconds in a real one (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    signals.raise_on_signals()
    stage = show.Show()
    try:
        with process.Workplace(WORKPLACE) as workplace, _site(options, stage) as place:
            status = play.play(stage, place, workplace)
    except (errors.DemoFailed, labs.LabError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except signals.Interrupted as interrupted:
        print(f"\ndemo: ended by {interrupted.name}; everything is cleaned up", file=sys.stderr)
        return interrupted.exit_status
    if status == 0:
        stage.heading(f"All {stage.claims} claims were checked and hold. Cleaned up.")
    return status


@contextlib.contextmanager
def _site(options: argparse.Namespace, stage: show.Show) -> Iterator[site.Site]:
    """Give a site with real guests where that is possible and wanted, else a simulated one."""
    if os.geteuid() == 0:
        # What a crashed demo left goes, also where this one will not need a lab.
        labs.take_down_orphans(real.LAB_NAME)
    if options.driver == "simulated":
        yield pretended.PretendedSite(options.time_factor)
        return
    lab = labs.Lab(real.LAB_NAME, host_count=real.HOST_COUNT)
    try:
        if not (reason := _bring_up(lab)):
            yield real.RealSite(lab)
            return
    finally:
        signals.ignore_signals()
        if os.geteuid() == 0:
            lab.down()
    if options.driver == "libvirt" or os.environ.get("WHERRY_REQUIRE_REAL") == "1":
        raise errors.DemoFailed(f"no real guests here: {reason}")
    signals.raise_on_signals()
    stage.line(f"no real guests here: {reason}. The same on the simulated driver:")
    yield pretended.PretendedSite(options.time_factor)


def _bring_up(lab: labs.Lab) -> str:
    """Bring the lab up; say in one line why there can be none."""
    if reason := real.why_unavailable():
        return reason
    try:
        lab.up()
    except labs.LabUnavailable as problem:
        return str(problem)
    return ""


if __name__ == "__main__":
    sys.exit(main())
