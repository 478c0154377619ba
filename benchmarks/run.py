# SPDX-License-Identifier: Apache-2.0
"""`make bench`: measure Wherry with simulated guests, print a summary, and keep the numbers with the facts of the machine."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from benchmarks import accepting, completing, listing, load, machine, measures, slots, taking_over, watching
from wherry.testing import postgres_server
from wherry.testing.fleet import nats, program

RESULTS = pathlib.Path("benchmarks/results")
_STORES = ("sqlite", "postgresql")
#: Guests that are moved out of each host to see how long slots stay empty.
_EACH = 10
_CLIENTS = (1, 4, 16, 64)


def _accepts(options: argparse.Namespace) -> Iterator[measures.Measure]:
    for store in options.stores:
        yield from accepting.measure(store, clients=options.clients, seconds=options.seconds)


def _completions(options: argparse.Namespace) -> Iterator[measures.Measure]:
    for conductors in (1, 2):
        yield from completing.measure(conductors=conductors, migrations=options.migrations)


def _slots(options: argparse.Namespace) -> Iterator[measures.Measure]:
    for conductors in (1, 2):
        yield from slots.measure(conductors=conductors, hosts=options.slot_hosts, each=_EACH)


def _lists(options: argparse.Namespace) -> Iterator[measures.Measure]:
    for store in options.stores:
        yield from listing.measure(store, records=options.records)


def _take_over(options: argparse.Namespace) -> Iterator[measures.Measure]:
    yield from taking_over.measure(times=options.kills)


def _monitors(options: argparse.Namespace) -> Iterator[measures.Measure]:
    yield from watching.measure(transfers=options.transfers)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[measures.Measure]]] = {
    "accepts": _accepts,
    "completions": _completions,
    "slots": _slots,
    "lists": _lists,
    "take-over": _take_over,
    "monitors": _monitors,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep; 1 when something aimed at was not met."""
    options = _options(argv)
    for lacking in (load.why_unavailable(), postgres_server.why_unavailable(), nats.why_unavailable()):
        if lacking:
            print(f"bench: {lacking}", file=sys.stderr)
            return 1
    found: list[measures.Measure] = []
    busy_before = os.getloadavg()[0]
    try:
        for part in options.parts:
            print(f"bench: {part}", file=sys.stderr)
            for one in PARTS[part](options):
                found.append(one)
                print("\n".join(measures.lines([one])), flush=True)
    except (program.FleetError, load.LoadFailed) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    print(f"kept in {_keep(options.output, found, busy_before)}")
    return 0 if all(one.is_met for one in found) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--stores", nargs="+", choices=_STORES, default=list(_STORES), help="default: both")
    parser.add_argument("--clients", nargs="+", type=int, default=list(_CLIENTS), help="clients at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (default: %(default)s)")
    parser.add_argument("--slot-hosts", type=int, default=20, help="that hand slots over, each every two seconds (default: %(default)s)")
    parser.add_argument("--migrations", type=int, default=1000, help="asked for at once (default: %(default)s)")
    parser.add_argument("--records", type=int, default=10_000, help="servers, and migrations, in lists (default: %(default)s)")
    parser.add_argument("--transfers", type=int, default=1000, help="watched by one agent (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="of a conductor (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help=f"where the JSON goes (default: {RESULTS}/bench-TIME.json)")
    options = parser.parse_args(argv)
    options.parts = options.parts or list(PARTS)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    return options


def _keep(output: pathlib.Path | None, found: Sequence[measures.Measure], busy_before: float) -> pathlib.Path:
    now = datetime.datetime.now(datetime.UTC)
    path = output or RESULTS / f"bench-{now:%Y%m%d-%H%M%S}.json"
    content = {
        "benchmark": "bench",
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine.facts(),
        # Processes that wanted a processor before the first measurement: more than none makes every time longer.
        "load_before": round(busy_before, 2),
        "measures": [dataclasses.asdict(one) for one in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
