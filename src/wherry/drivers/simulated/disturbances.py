# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a simulated fleet, behind the drivers' backs: links, daemons, and people who lay hands on guests.

Behaves as libvirt was seen to behave. Each takes effect at once; `at` and `on_step` put one off.
"""

from __future__ import annotations

from collections.abc import Callable

from wherry.drivers import base
from wherry.drivers.simulated import fleet, world
from wherry.drivers.simulated.course import emit
from wherry.drivers.simulated.transfer import UNDECIDED, Stage, Transfer
from wherry.model import guest

_S = guest.GuestState
#: Seconds after which a source whose closing reply was lost takes the transfer for failed: measured with libvirt 9.0.0.
LOST_REPLY_SECONDS = 26.0


class Disturbances:
    """The hand that disturbs one world."""

    def __init__(self, disturbed: world.World) -> None:
        self._world = disturbed

    # -------------------------------------------------------------------- when

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Have `action` called that many simulated seconds after the world's time begins."""
        self._world.time.at(seconds, action)

    def on_step(self, instance: str, step: str, action: Callable[[], None], *, number: int | None = None) -> Callable[[], None]:
        """Have `action` called once, when the guest's transfer (by uuid or name) takes the step.

        Steps: started, iteration (the pass of that `number`, or any), switch_over, post_copy, arrived, ended.
        The function given back takes it away.
        """
        observers = self._world.copying.observers

        def observe(transfer: Transfer, taken: str) -> None:
            spec = transfer.order.spec
            if taken == step and instance in (spec.uuid, spec.name) and number in (None, transfer.iteration):
                remove()
                action()

        def remove() -> None:
            if observe in observers:
                observers.remove(observe)

        observers.append(observe)
        return remove

    # ------------------------------------------------------------------- links

    def cut_link(self, name: str, *, seconds: float | None = None) -> None:
        """Cut the links of a host, or the core; mended after `seconds`, or never. Copies stall, the daemons still talk."""
        self._change(name, is_up=False)
        if seconds is not None:
            self._world.time.after(seconds, lambda: self.restore_link(name))

    def restore_link(self, name: str) -> None:
        """Mend them."""
        self._change(name, is_up=True)

    def change_link(self, name: str, *, mib_per_s: float | None = None, latency_seconds: float | None = None) -> None:
        """Make them wider, narrower or longer."""
        self._change(name, mib_per_s=mib_per_s, latency_seconds=latency_seconds)

    def _change(
        self, name: str, *, is_up: bool | None = None, mib_per_s: float | None = None, latency_seconds: float | None = None
    ) -> None:
        core = self._world.core
        if name == "core" and core is not None:
            links = [core]
        else:
            host = self._world.host(name)
            links = [host.uplink, host.downlink]
        for link in links:
            link.is_up = link.is_up if is_up is None else is_up
            link.mib_per_s = link.mib_per_s if mib_per_s is None else mib_per_s
            link.latency_seconds = link.latency_seconds if latency_seconds is None else latency_seconds
        self._world.copying.reshare(links)

    # ----------------------------------------------------------------- daemons

    def kill_daemon(self, host_name: str, *, back_after_seconds: float | None = None) -> None:
        """Kill the daemon: guests live on, copies out of and into the host are cancelled, post-copies go on by themselves."""
        host = self._world.host(host_name)
        self._daemon(host, fleet.Daemon.DOWN)
        emit(host, base.SignalKind.CONNECTION, detail="lost")
        for transfer in self._world.copying.touching(host):
            if transfer.stage in UNDECIDED:
                self._world.copying.cancel(transfer, f"operation failed: lost connection to the daemon of {host_name}")
        if back_after_seconds is not None:
            self._world.time.after(back_after_seconds, lambda: self.start_daemon(host_name))

    def silence_daemon(self, host_name: str, *, seconds: float | None = None) -> None:
        """Let the daemon hang: copies go on but cannot switch over, calls time out."""
        self._daemon(self._world.host(host_name), fleet.Daemon.SILENT)
        if seconds is not None:
            self._world.time.after(seconds, lambda: self.start_daemon(host_name))

    def start_daemon(self, host_name: str) -> None:
        """Let the daemon answer again, whatever it was that kept it from it."""
        host = self._world.host(host_name)
        if host.daemon is fleet.Daemon.UP:
            return
        if host.daemon is fleet.Daemon.DOWN:
            for local in host.guests.values():
                local.shows_arrival = False
        self._daemon(host, fleet.Daemon.UP)
        emit(host, base.SignalKind.CONNECTION, detail="back")
        self._world.copying.daemon_answers(host)

    def power_off(self, host_name: str) -> None:
        """Take the power from a host: its guests are gone, its files stay; `start_daemon` brings it back without them running."""
        host = self._world.host(host_name)
        for instance_uuid in list(host.guests):
            self.destroy_guest(host_name, instance_uuid)
        self.kill_daemon(host_name)

    def _daemon(self, host: fleet.Host, state: fleet.Daemon) -> None:
        host.daemon = state
        waiters, host.waiters = host.waiters, []
        for wake in waiters:
            wake()

    # ------------------------------------------------------------------ guests

    def destroy_guest(self, host_name: str, instance_uuid: str) -> None:
        """Stop a guest hard, as virsh destroy would: a persistent one stays defined."""
        self._stop(host_name, instance_uuid, "destroyed")

    def shut_down_guest(self, host_name: str, instance_uuid: str) -> None:
        """Let a guest shut itself down."""
        self._stop(host_name, instance_uuid, "shut down")

    def crash_guest(self, host_name: str, instance_uuid: str) -> None:
        """Let a guest crash by itself."""
        self._stop(host_name, instance_uuid, "crashed")

    def pause_guest(self, host_name: str, instance_uuid: str) -> None:
        """Pause a guest, as virsh suspend would."""
        self._world.copying.pause(self._world.host(host_name), instance_uuid)

    def resume_guest(self, host_name: str, instance_uuid: str) -> None:
        """Resume a paused guest; during its migration it stays paused."""
        self._world.copying.resume(self._world.host(host_name), instance_uuid)

    def break_post_copy(self, instance_uuid: str) -> None:
        """Break the connection of a transfer in post-copy. One that is in no post-copy is left alone."""
        transfer = self._world.copying.of(instance_uuid)
        if transfer is not None and transfer.stage is Stage.POST_COPY:
            self._world.copying.break_post_copy(transfer)

    def lose_closing_reply(self, instance_uuid: str, *, after_seconds: float = LOST_REPLY_SECONDS) -> None:
        """Let the source never hear that the guest has arrived; after that time it takes the transfer for failed.

        Then a guest whose disks no lock protects runs on both sides; with locked disks the source's copy stays paused.
        """
        transfer = self._world.copying.of(instance_uuid)
        if transfer is not None and transfer.stage in UNDECIDED:
            transfer.reply_lost_seconds = after_seconds

    def _stop(self, host_name: str, instance_uuid: str, how: str) -> None:
        host = self._world.host(host_name)
        local = host.guests.get(instance_uuid)
        if local is None:
            return
        transfer = self._world.copying.of(instance_uuid)
        was_incoming = local.is_incoming
        if local.spec.is_persistent and not was_incoming:
            local.state = _S.SHUT_OFF
        else:
            del host.guests[instance_uuid]
        emit(host, base.SignalKind.LIFECYCLE, instance_uuid, how)
        if transfer is None:
            return
        is_whole_at_source = transfer.stage in UNDECIDED
        if is_whole_at_source and host is transfer.order.destination:
            self._world.copying.cancel(transfer, f"operation failed: the domain was {how} at the destination")
        elif is_whole_at_source or transfer.stage is Stage.POST_COPY or (transfer.stage is Stage.CLOSING and host is transfer.order.source):
            # Also while the closing reply is awaited: there is nobody left who could be resumed without it.
            self._world.copying.forsake(transfer, f"operation failed: domain is not running, it was {how}")
