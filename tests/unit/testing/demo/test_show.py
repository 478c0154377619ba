# SPDX-License-Identifier: Apache-2.0
"""How the demo prints where there is no terminal, and how it counts what did not hold."""

from __future__ import annotations

import io

from wherry.testing.demo import records, show, site


def _migration(left_mib: int, status: str = "running") -> records.Migration:
    return records.Migration(
        id=1,
        uuid="u",
        status=status,
        source="h1",
        destination="h2",
        memory_total_bytes=100 * records.MIB,
        memory_processed_bytes=(100 - left_mib) * records.MIB,
        memory_remaining_bytes=left_mib * records.MIB,
        percentage=100 - left_mib,
        reason="",
        reason_message="",
    )


def test_a_claim_that_does_not_hold_is_printed_and_counted() -> None:
    stage = show.Show(out := io.StringIO())
    stage.claim("water is wet", True)
    stage.claim("h2 runs it", False, "absent")
    assert (stage.claims, stage.broken) == (2, ["h2 runs it"])
    assert out.getvalue().splitlines() == ["  ok  water is wet", "  NOT h2 runs it: absent"]


def test_progress_is_a_line_for_each_change_and_no_more() -> None:
    stage = show.Show(out := io.StringIO())
    with stage.progress("calm") as update:
        for left in (100, 60, 60, 0):
            update(_migration(left))
        update(_migration(0, "completed"))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [("0", "running"), ("40", "running"), ("100", "running"), ("100", "completed")]


def test_text_of_others_is_never_read_as_markup() -> None:
    stage = show.Show(out := io.StringIO())
    stage.line("[red]qemu+tcp://[::1]/system[/red]")
    stage.claim("[bold]x", True, "[/nonsense]")
    assert "[red]qemu+tcp://[::1]/system[/red]" in out.getvalue()
    assert "[bold]x: [/nonsense]" in out.getvalue()


def test_long_lines_stay_whole_and_columns_line_up() -> None:
    stage = show.Show(out := io.StringIO())
    stage.line("x" * 400)
    assert out.getvalue() == f"  {'x' * 400}\n"
    assert show.columns(("a", "host"), [("long one", "h1"), ("b", "h2")]) == ["a         host", "long one  h1", "b         h2"]


def test_configuration_is_written_so_that_it_is_read_back_as_it_was() -> None:
    merged = site.merge({"api": {"bind_port": "1"}}, {"api": {"bind_port": "2"}, "libvirt": {"x": "a$b"}})
    assert site.render(merged) == "[api]\nbind_port = 2\n\n[libvirt]\nx = a$$b\n"
