# SPDX-License-Identifier: Apache-2.0
"""What a hostile host may send for a definition does no harm, and is refused by what reads it."""

from __future__ import annotations

import pathlib
import re
import time
from collections.abc import Callable

import pytest

import wherry.drivers.libvirt
from wherry import errors
from wherry.drivers.libvirt import domain_xml, guest_xml, sized_xml, xml_reading

_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
_BILLION = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "ha">{_LAUGHS}]><domain><uuid>&l11;</uuid></domain>'
_QUADRATIC = f'<!DOCTYPE d [<!ENTITY a "{"a" * 50_000}">]><domain><uuid>{"&a;" * 50_000}</uuid></domain>'
_HOSTILE = {
    "billion laughs": _BILLION,
    "behind a comment": "<!-- -->" + _BILLION.split("?>", 1)[1],
    "behind an instruction": "<?a b?>" + _BILLION.split("?>", 1)[1],
    "behind a mark": "\ufeff" + _BILLION,
    "quadratic": _QUADRATIC,
    "file": '<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><domain><uuid>&f;</uuid></domain>',
    "outer subset": '<!DOCTYPE d SYSTEM "http://127.0.0.1:1/d.dtd"><domain/>',
    "undeclared": "<domain><uuid>&l11;</uuid></domain>",
    "late": "<domain><!DOCTYPE d><uuid/></domain>",
    "nothing": "",
    "no XML": "domain",
    "half": "<domain><uuid>",
    "no characters": "<domain>\ud800</domain>",
    "long": f"<domain>{'a' * xml_reading.MOST_BYTES}</domain>",
    "long in bytes": "<domain>" + "\u20ac" * (xml_reading.MOST_BYTES // 3) + "</domain>",
}


@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE)
def test_it_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(errors.DefinitionUnreadable):
        xml_reading.parse(text)
    # Expanded, a hundred billion words; the limit is far from what a busy machine adds.
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "read",
    [
        domain_xml.parse_platform,
        domain_xml.volume_references,
        domain_xml.disk_paths,
        lambda text: domain_xml.with_identity(text, "x"),
        lambda text: domain_xml.without_images_below(text, ["vda"]),
        guest_xml.made_files,
        sized_xml.local_state,
    ],
)
def test_by_whatever_reads_a_definition(read: Callable[[str], object]) -> None:
    with pytest.raises(errors.DefinitionUnreadable):
        read(_BILLION)


@pytest.mark.parametrize("begin", ["", "\n  ", '<?xml version="1.0" encoding="UTF-8"?>\n', "\ufeff"])
def test_what_libvirt_writes_is_read(begin: str) -> None:
    root = xml_reading.parse(f"{begin}<domain type='kvm'><title>a &lt;!DOCTYPE&gt; &amp; b</title><!-- no harm --></domain>")
    assert root.findtext("title") == "a <!DOCTYPE> & b"


def test_there_is_no_other_way_in() -> None:
    folder = pathlib.Path(wherry.drivers.libvirt.__file__).parent
    readers = [path.name for path in folder.glob("*.py") if re.search(r"fromstring\(|XMLParser|ET\.parse\(|\.XML\(", path.read_text())]
    assert readers == ["xml_reading.py"]
