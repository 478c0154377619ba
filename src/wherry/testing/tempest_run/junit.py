# SPDX-License-Identifier: Apache-2.0
"""Results as the JUnit file that `make test` reads.

Writes only.
"""

from __future__ import annotations

import pathlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from wherry.testing.tempest_run import cases

#: What XML cannot hold.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: pathlib.Path, results: Mapping[str, Sequence[cases.Case]]) -> None:
    """Write the results of each run."""
    root = ET.Element("testsuites")
    for run, found in results.items():
        suite = ET.SubElement(root, "testsuite", name=f"tempest, {run}", tests=str(len(found)))
        for case in found:
            _add(suite, run, case)
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add(suite: ET.Element, run: str, case: cases.Case) -> None:
    # Which run it was goes behind, where it does not look like a part of the class.
    element = ET.SubElement(suite, "testcase", classname=case.place, name=f"{case.name} ({run})", time=f"{case.seconds:.3f}")
    why = _FORBIDDEN.sub("?", case.why)
    if case.verdict is cases.Verdict.SKIPPED:
        ET.SubElement(element, "skipped", message=why)
    elif case.verdict is cases.Verdict.FAILED:
        ET.SubElement(element, "failure", message=why.strip().rpartition("\n")[2]).text = why
