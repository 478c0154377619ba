# SPDX-License-Identifier: Apache-2.0
"""Many seeds over several processes, each of which runs one after the other; and what to say of them."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures

from wherry.testing.simulation import directed, mutations, run

#: Seeds that a process takes at a time: its first one costs a second for imports, so there must be some.
_CHUNK = 4


def seeds_of(text: str) -> list[int]:
    """Read "1-200", "17" or "1-5,9".

    :raises ValueError: for anything else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    return seeds


def run_all(seeds: Iterable[int], *, jobs: int, mutation: str = "") -> Iterator[run.Result]:
    """Run seeds, in order; give each result as soon as those before it are known. Whoever stops listening ends it."""
    if jobs <= 1 and not mutation:
        yield from map(run.run, seeds)
        return
    # A mutation changes classes: it stays in children that end with this.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=mutations.apply, initargs=(mutation,)) as executor:
        try:
            yield from _in_order(executor, seeds, jobs, is_hasty=bool(mutation))
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _in_order(executor: futures.Executor, seeds: Iterable[int], jobs: int, *, is_hasty: bool) -> Iterator[run.Result]:
    size = 1 if is_hasty else _CHUNK
    left = iter(seeds)
    waiting: collections.deque[futures.Future[list[run.Result]]] = collections.deque()
    while chunk := list(itertools.islice(left, size)):
        waiting.append(executor.submit(_run_chunk, chunk, is_hasty))
        # Not all at once: who stops at the first failure must not wait for the rest.
        if len(waiting) > 2 * jobs:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _run_chunk(seeds: Sequence[int], is_hasty: bool) -> list[run.Result]:
    return [run.run(seed, is_hasty=is_hasty) for seed in seeds]


def catch(mutation: str, seeds: Iterable[int], *, jobs: int) -> tuple[int, run.Result | None]:
    """Run seeds with a safeguard broken until one shows it; give how many it took, and that one's result, or None.

    Only those of the seeds are run that are about what it breaks: it takes minutes so, and the others could but show it sooner.
    """
    about, count = mutations.ABOUT[mutation], 0
    fitting = (seed for seed in seeds if not about or directed.make(seed).about == about)
    for result in run_all(fitting, jobs=jobs, mutation=mutation):
        count += 1
        if not result.is_good:
            return count, result
    return count, None


def told(result: run.Result) -> str:
    """Say what became of a seed that failed, and how to see it again."""
    problems = "\n".join(f"  {problem}" for problem in result.problems)
    return f"seed {result.seed} violates what must hold; replay it with: make simulate SEEDS={result.seed}\n{problems}\n{result.story}"


def summary(results: Iterable[run.Result], tell: Callable[[str], None], *, every: int = 0) -> tuple[int, list[int]]:
    """Tell of each failure as it comes, and of the whole at the end; give the number of runs, and the seeds that failed."""
    count, failed, virtual = 0, [], 0.0
    totals: collections.Counter[str] = collections.Counter()
    for result in results:
        count += 1
        virtual += result.virtual_seconds
        totals.update(result.ended)
        totals.update(deaths=result.deaths, messages=result.messages)
        if not result.is_good:
            failed.append(result.seed)
            tell(told(result))
        if every and count % every == 0:
            tell(f"{count} schedules, {len(failed)} with violations")
    shown = ", ".join(f"{number} {what}" for what, number in sorted(totals.items()))
    found = f"violations in {len(failed)}" + (f": seeds {failed}" if failed else "")
    tell(f"{count} schedules ({virtual / 3600:.1f} virtual hours): {shown}; {found}")
    return count, failed
