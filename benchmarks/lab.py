# SPDX-License-Identifier: Apache-2.0
"""`make bench-lab`: what Wherry adds to a live migration, on real guests.

Completion is observed by asking for the migration record again 5 ms after each answer, so a value is at most one answer (a few
milliseconds) too high; the record's own time of completion is kept beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks import machine, results
from wherry.model import states
from wherry.testing import lab as labs
from wherry.testing.demo import api, errors, process, real, signals
from wherry.testing.lab import command

NAME = "wherry-bench"
RESULTS = pathlib.Path("benchmarks/results")

MEMORY_MIB = 512
#: Enough to copy for some three seconds at this bandwidth, which holds for virsh, too.
TOUCHED_MIB, BANDWIDTH_MIB_PER_S = 192, 64
CONTROL_DELAY_MS = 50

PRECISE_SECONDS = 0.005
COARSE_SECONDS = 0.05
TIMEOUT_SECONDS = 120.0


class Bench:
    """A lab with two guests, and a client of the Wherry that serves it."""

    def __init__(self, lab: labs.Lab, client: api.ComputeApi) -> None:
        self._lab = lab
        self._api = client

    def compare(self, guest: labs.Guest, runs: int, label: str) -> results.Comparison:
        """Move a guest through Wherry and by virsh in turn, there and back."""
        wherry, recorded, virsh = [], [], []
        # The first migration between two hosts pays for what they then know of each other.
        self._through_wherry(guest)
        self._by_virsh(guest)
        for run in range(1, runs + 1):
            seen, stamped = self._through_wherry(guest)
            wherry.append(seen)
            recorded.append(stamped)
            virsh.append(self._by_virsh(guest))
            _tell(f"{label} {run}/{runs}: {seen:.3f} s, virsh {virsh[-1]:.3f} s")
        return results.Comparison(wherry=wherry, recorded=recorded, virsh=virsh)

    def answers(self, guest: labs.Guest, requests: int, delay_ms: float) -> results.Answers:
        """Ask for migrations at both kinds of microversion in turn and take the time of the answers; each goes on to its end."""
        times: dict[str, list[float]] = {api.ASYNCHRONOUS: [], api.BLOCKING: []}
        for run in range(1, requests + 1):
            for version, samples in times.items():
                server_id, destination = self._ready(guest)
                answer = _accepted(self._api.live_migrate(server_id, version, api.live_migration_body(destination.name)))
                samples.append(answer.seconds)
                self._await_end(server_id, self._id_of(server_id), COARSE_SECONDS)
            last = ", ".join(f"{version} {samples[-1] * 1000:.1f} ms" for version, samples in times.items())
            _tell(f"answers, {delay_ms:g} ms away, {run}/{requests}: {last}")
        return results.Answers(control_delay_ms=delay_ms, asynchronous=times[api.ASYNCHRONOUS], blocking=times[api.BLOCKING])

    def _through_wherry(self, guest: labs.Guest) -> tuple[float, float]:
        server_id, destination = self._ready(guest)
        asked_at, begun = datetime.datetime.now(datetime.UTC), time.perf_counter()
        _accepted(self._api.live_migrate(server_id, api.ASYNCHRONOUS, api.live_migration_body(destination.name)))
        ended_at = self._await_end(server_id, self._id_of(server_id), PRECISE_SECONDS)
        return time.perf_counter() - begun, (ended_at - asked_at).total_seconds()

    def _by_virsh(self, guest: labs.Guest) -> float:
        source, destination = guest.host, self._other(guest)
        words = ("--live", "--p2p", "--bandwidth", str(BANDWIDTH_MIB_PER_S), guest.name, destination.uri, destination.migration_uri)
        begun = time.perf_counter()
        source.virsh("migrate", *words, timeout_seconds=TIMEOUT_SECONDS)
        return time.perf_counter() - begun

    def _ready(self, guest: labs.Guest) -> tuple[str, labs.Host]:
        """Wait until Wherry knows where the guest is (virsh told it nothing) and nothing happens to it."""
        where = guest.host.name

        def is_known() -> bool:
            server = self._api.servers().get(guest.name)
            return server is not None and server.host == where and server.task_state is None and server.status == "ACTIVE"

        command.wait_until(
            is_known, f"{guest.name} to be known on {where}", timeout_seconds=TIMEOUT_SECONDS, interval_seconds=COARSE_SECONDS
        )
        return guest.uuid, self._other(guest)

    def _other(self, guest: labs.Guest) -> labs.Host:
        return next(host for host in self._lab.hosts if host.name != guest.host.name)

    def _id_of(self, server_id: str) -> int:
        """Find the migration; it is listed from the end of the checks on."""
        found: list[int] = []

        def is_listed() -> bool:
            found.extend(one.id for one in self._api.migrations_in_progress(server_id))
            return bool(found)

        command.wait_until(is_listed, "the migration to be listed", timeout_seconds=TIMEOUT_SECONDS, interval_seconds=PRECISE_SECONDS)
        return found[0]

    def _await_end(self, server_id: str, migration_id: int, pause_seconds: float) -> datetime.datetime:
        path = f"/v2.1/servers/{server_id}/migrations/{migration_id}"
        while True:
            body = self._api.get(path, api.OWN)["migration"]
            if states.Status(body["status"]) in states.TERMINAL:
                break
            command.pause(pause_seconds)
        if body["status"] != states.Status.COMPLETED:
            raise errors.DemoFailed(f"a migration ended as {body['status']}: {body.get('reason_message')}")
        return datetime.datetime.fromisoformat(body["updated_at"]).replace(tzinfo=datetime.UTC)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep the result; 1 if the 202 takes a tenth of the blocking answer or more with the hosts far away."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="migrations of each kind (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=20, help="requests of each kind (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help=f"where the JSON goes (default: {RESULTS}/lab-TIME.json)")
    options = parser.parse_args(argv)
    if reason := labs.why_unavailable():
        print(f"bench-lab: {reason}", file=sys.stderr)
        return 1
    signals.raise_on_signals()
    try:
        with process.Workplace(NAME) as workplace, labs.Lab(NAME, host_count=2) as lab:
            return _measure(workplace, lab, options)
    except (errors.DemoFailed, labs.LabError) as problem:
        print(f"bench-lab: {problem}", file=sys.stderr)
        return 1
    except signals.Interrupted as interrupted:
        print(f"bench-lab: ended by {interrupted.name}; everything is cleaned up", file=sys.stderr)
        return interrupted.exit_status


def _measure(workplace: process.Workplace, lab: labs.Lab, options: argparse.Namespace) -> int:
    touched = lab.create_guest("touched", "h1", payload="touch", memory_mib=MEMORY_MIB, range_mib=TOUCHED_MIB)
    idle = lab.create_guest("idle", "h1", memory_mib=MEMORY_MIB)
    with _bench(workplace, lab) as bench:
        compared = [bench.compare(touched, options.runs, "touched guest"), bench.compare(idle, options.runs, "idle guest")]
        answers = [bench.answers(idle, options.requests, 0)]
    lab.set_control_delay(CONTROL_DELAY_MS)
    with _bench(workplace, lab) as bench:
        answers.append(bench.answers(idle, options.requests, CONTROL_DELAY_MS))
    lines = [*results.comparison_lines(*compared), *(line for one in answers for line in results.answer_lines(one))]
    kept = _keep(options.output, lab, compared, answers)
    print("\n".join(lines))
    print(f"kept in {kept}")
    return 0 if all(one.is_fast for one in answers) else 1


def _keep(
    output: pathlib.Path | None, lab: labs.Lab, compared: Sequence[results.Comparison], answers: Sequence[results.Answers]
) -> pathlib.Path:
    now = datetime.datetime.now(datetime.UTC)
    path = output or RESULTS / f"lab-{now:%Y%m%d-%H%M%S}.json"
    content = {
        "benchmark": "lab",
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": {**machine.facts(), "accelerator": lab.accelerator, "delay_by": lab.record.delay_by},
        "guests": {"memory_mib": MEMORY_MIB, "touched_mib": TOUCHED_MIB, "bandwidth_mib_per_s": BANDWIDTH_MIB_PER_S},
        "ratio": round(compared[0].ratio, 4),
        "idle_overhead_ms": round(compared[1].overhead_ms, 1),
        "touched": dataclasses.asdict(compared[0]),
        "idle": dataclasses.asdict(compared[1]),
        "answers": [{**dataclasses.asdict(one), "part": round(one.part, 4)} for one in answers],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


@contextlib.contextmanager
def _bench(workplace: process.Workplace, lab: labs.Lab) -> Iterator[Bench]:
    """Start a Wherry for the lab as it is now; a delay may have changed the hosts' addresses."""
    configuration = real.configuration_of(lab, BANDWIDTH_MIB_PER_S)
    with process.AllInOne(workplace, configuration) as wherry, api.ComputeApi(wherry.url) as client:
        yield Bench(lab, client)


def _accepted(answer: api.Answer) -> api.Answer:
    if answer.status != 202:
        raise errors.DemoFailed(f"a live migration was answered with {answer.status}: {answer.body}")
    return answer


def _tell(text: str) -> None:
    print(f"bench-lab: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
