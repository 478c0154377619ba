# SPDX-License-Identifier: Apache-2.0
"""Find links in Markdown pages that lead nowhere.

Looks at relative links and anchors only; addresses on the network are not visited.
"""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Iterator

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors that headings of a page make."""
    found: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(words.replace(" ", "-"))
    return found


def broken_links(page: pathlib.Path) -> Iterator[str]:
    """Yield a line for each relative link of a page that leads nowhere."""
    text = page.read_text()
    for match in _LINK.finditer(_CODE.sub("", text)):
        link = match[1] or match[2]
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        aim = (page.parent / name) if name else page
        if not aim.exists():
            yield f"{page}: {link} leads to no file"
        elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text()):
            yield f"{page}: {link} leads to no heading"


def main() -> int:
    """Judge every page."""
    pages = [*sorted(pathlib.Path().glob("*.md")), *sorted(pathlib.Path("docs").rglob("*.md"))]
    found = [line for page in pages for line in broken_links(page)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
