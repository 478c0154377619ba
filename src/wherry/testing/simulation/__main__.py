# SPDX-License-Identifier: Apache-2.0
"""python -m wherry.testing.simulation SEEDS: run schedules; a single seed prints its whole log."""

from __future__ import annotations

import argparse
import os
import sys
import time

from wherry.testing.simulation import mutations, pool, run


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m wherry.testing.simulation", description=__doc__)
    parser.add_argument("seeds", metavar="SEEDS", help="17, 1-200, or 1-5,9")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at a time (default: one for each processor)")
    parser.add_argument("--mutation", choices=sorted(mutations.MUTATIONS), default="", help="break this safeguard, and stop when it shows")
    options = parser.parse_args(arguments)
    try:
        seeds = pool.seeds_of(options.seeds)
    except ValueError:
        parser.error(f"SEEDS is {options.seeds!r}; write for example 17, 1-200 or 1-5,9")
    if len(seeds) == 1:
        mutations.apply(options.mutation)
        result = run.run(seeds[0], is_whole=True)
        print(result.log, end="")
        print(pool.told(result) if not result.is_good else f"seed {result.seed}: everything held\n{result.story}")
        return 0 if result.is_good is not bool(options.mutation) else 1
    if options.mutation:
        count, caught = pool.catch(options.mutation, seeds, jobs=options.processes)
        about = f" about {mutations.ABOUT[options.mutation]}" if mutations.ABOUT[options.mutation] else ""
        found = f"caught by seed {caught.seed}: {caught.problems[0].splitlines()[0]}" if caught else "not caught"
        print(f"{options.mutation}: {count} schedules{about}, {found}")
        return 0 if caught else 1
    began = time.monotonic()
    results = pool.run_all(seeds, jobs=options.processes)
    count, failed = pool.summary(results, lambda text: print(text, flush=True), every=500)
    print(f"{count} schedules took {time.monotonic() - began:.0f} s on {options.processes} processes; {len(failed)} with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
