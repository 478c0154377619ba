# SPDX-License-Identifier: Apache-2.0
"""The three runs: on simulated hosts, on real ones, and at the newest versions with their strict schemas.

Must leave nothing running; what a run wrote stays in `.tempest/` until the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Sequence

from wherry.testing import keystone as keystones
from wherry.testing.demo import process, site
from wherry.testing.tempest_run import cases, people, selection, settings, sites, suite

#: In the current directory, which is a checkout.
PLACE = pathlib.Path(".tempest")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One way to run the suite."""

    name: str
    title: str
    site: Callable[[], contextlib.AbstractContextManager[sites.Site]]
    #: What the site's hosts are.
    hosts: str
    #: tempest sends at least this.
    min_microversion: str = "2.1"
    #: How many tests run at a time: they wait more than they work.
    workers: int = 4
    is_smoke: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it."""

    cases: list[cases.Case]
    #: Reason -> tests.
    left_out: dict[str, list[str]]


RUNS = (
    Run(name="simulated", title="simulated hosts, 2.1 to latest", site=sites.simulated, hosts="simulated"),
    # Its guests have the same processors.
    Run(name="lab", title="real guests, 2.1 to latest", site=sites.lab, hosts="lab", workers=2),
    Run(name="strict", title="simulated hosts, 2.100 to latest", site=sites.simulated, hosts="simulated", min_microversion="2.100"),
)


def chosen(names: Sequence[str] | None, *, is_smoke: bool) -> list[Run]:
    """Give the runs of these names; all of them where none is named, one where it must be short."""
    if is_smoke and not names:
        names = ["simulated"]
    return [dataclasses.replace(run, is_smoke=is_smoke) for run in RUNS if not names or run.name in names]


def perform(run: Run, tests: re.Pattern[str] | None, *, is_loud: bool) -> Outcome:
    """Start everything, let tempest do its work, end everything.

    :param tests: only those that this is found in.
    """
    PLACE.mkdir(exist_ok=True)
    with process.Workplace(run.name, PLACE.absolute()) as workplace, contextlib.ExitStack() as stack:
        for name in ("keystone", "tempest"):
            (workplace.path / name).mkdir()
        asking = people.people_for(run.workers)
        hosts = stack.enter_context(run.site())
        keystone = people.start_keystone(workplace.path / "keystone", asking)
        stack.callback(keystone.close)
        configuration = site.merge(hosts.configuration(workplace.path), _for(keystone))
        sites.add_images(hosts, workplace.path, workplace.path / "state")
        wherry = stack.enter_context(process.AllInOne(workplace, configuration))
        compute = f"{wherry.url}/v2.1"
        keystone.register("compute", "nova", compute)
        operator = next(person for person in asking if person.roles[0] == "admin")
        sites.add_flavors(compute, keystone.token(operator.name, operator.project))
        accounts = workplace.path / "accounts.yaml"
        people.write_accounts(accounts, asking)
        cloud = settings.Cloud(
            identity_url=keystone.url,
            image_ids=sites.IMAGE_IDS,
            flavor_ids=tuple(sites.FLAVORS),
            build_timeout_seconds=hosts.build_timeout_seconds,
        )
        directory = workplace.path / "tempest"
        tempest = suite.Suite(directory, settings.render(directory, accounts, cloud, run.min_microversion))
        outcome = _run(run, tempest, tests, is_loud=is_loud)
        wherry.check_alive()
        return outcome


def _for(keystone: keystones.Keystone) -> site.Configuration:
    return {
        "api": {"auth_strategy": "keystone"},
        "agent": {"default_project_id": keystone.projects[people.FOUND_PROJECT]},
        "keystone": {
            "auth_url": keystone.url,
            "username": people.SERVICE_USER,
            "password": keystones.PASSWORD,
            "project_name": "service",
            "region_name": "RegionOne",
        },
    }


def _run(run: Run, tempest: suite.Suite, tests: re.Pattern[str] | None, *, is_loud: bool) -> Outcome:
    listed = tempest.list_ids(selection.PATTERN)
    left_out: dict[str, list[str]] = {}
    ids = []
    for test_id in listed:
        name = cases.plain(test_id)
        if tests is not None and not tests.search(name):
            continue
        if reason := selection.why_left_out(name, run.min_microversion, run.hosts):
            left_out.setdefault(reason, []).append(name)
        elif not run.is_smoke or selection.is_smoke(name):
            ids.append(test_id)
    found = tempest.run(ids, run.workers, lambda line: _tell(line, is_loud=is_loud))
    if tests is None:
        wanted = selection.wanted_of(run.min_microversion, is_smoke=run.is_smoke)
        names = [cases.plain(test_id) for test_id in listed]
        found += cases.missing(found, wanted, names)
        found += [cases.failed("selection", pattern, "It leaves out what tempest does not have.") for pattern in selection.stale(names)]
    # What a part leaves out because it is a part says nothing.
    return Outcome(cases=found, left_out={} if run.is_smoke else left_out)


def _tell(line: str, *, is_loud: bool) -> None:
    if is_loud and " ... " in line:
        print(line, flush=True)
