# SPDX-License-Identifier: Apache-2.0
"""A site over the lab's hosts as in production: PostgreSQL, nats-server, two apis, two conductors, an agent for each host."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from tests.lab import flow
from wherry.testing import fleet as fleets
from wherry.testing import lab as labs


class Site:
    """The processes, started and stopped as one."""

    def __init__(self, lab: labs.Lab, directory: pathlib.Path, more: flow.Options) -> None:
        options = flow.options_of(lab, directory, more)
        # Each process has a name of its own, and each agent its host.
        del options["DEFAULT"]["host"], options["agent"]["hosts"], options["api"]["bind_port"]
        self.fleet = fleets.Fleet(directory, agents=fleets.lab_agents(lab), apis=2, conductors=2, options=options)
        self._is_started = False

    def start(self) -> str:
        """Start everything; gives the address of the first api."""
        if not self._is_started:
            self.fleet.__enter__()
            self._is_started = True
        return self.fleet.urls[0]

    def stop(self) -> None:
        """Stop everything that still runs, in order."""
        if self._is_started:
            self._is_started = False
            self.fleet.__exit__()

    def owner_of(self, move: flow.Move) -> fleets.Program:
        """Give the conductor that drives a migration."""

        def found() -> fleets.Program | None:
            owner = self.fleet.sql(f"SELECT owner FROM operations WHERE id = '{move.record['uuid']}'").strip()
            return next((one for one in self.fleet.conductors if one.is_running and owner and id_of(one) == owner), None)

        return fleets.until(found, "a conductor to drive it")  # type: ignore[return-value]  # it ends with one or raises

    def status(self) -> dict[str, Any]:
        """Give what `wherry status` says."""
        done = self.fleet.conductors[0].run("status", "--format", "json")
        if done.returncode != 0:
            raise fleets.FleetError(done.stderr)
        return dict(json.loads(done.stdout))


class SiteFlow(flow.Flow):
    """A client of such a site, which may turn to the other api."""

    def __init__(self, lab: labs.Lab, site: Site) -> None:
        super().__init__(lab, site)
        self.site = site

    @property
    def fleet(self) -> fleets.Fleet:
        """Its processes."""
        return self.site.fleet

    def turn_to(self, api: int) -> None:
        """Ask this api from now on."""
        if self._http is not None:
            self._http.close()
        self._http = httpx.Client(base_url=self.fleet.urls[api], timeout=60.0, trust_env=False, verify=False)


class StartSite(Protocol):
    """Starts a site that is stopped after the last test of its module."""

    def __call__(self, prepare: Callable[[pathlib.Path], None] | None = None, **options: dict[str, Any]) -> SiteFlow:
        """Give its client.

        :param prepare: is called with the directory of its files, before anything runs.
        :param options: by section.
        """
        ...


def id_of(conductor: fleets.Program) -> str:
    return conductor.log.read_text().rpartition("conductor drives as ")[2].split()[0]
