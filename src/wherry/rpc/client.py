# SPDX-License-Identifier: Apache-2.0
"""Send messages, and get typed answers or Wherry's own errors.

Never repeats anything: whether a message may be sent again is its sender's to know.
"""

from __future__ import annotations

from typing import TypeVar

from wherry import clock as wherry_clock
from wherry import errors
from wherry.rpc import addresses, envelope, messages
from wherry.rpc.transports import base
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

M = TypeVar("M", bound=messages.Message)


class Client:
    """One sender's way to the others.

    :param sender: who it is; a bus with permissions holds the process to it.
    :param timeout_seconds: longest wait for an answer where a call names none ([bus] rpc_response_timeout_seconds).
    """

    def __init__(
        self,
        transport: base.Transport,
        sender: addresses.Sender,
        *,
        timeout_seconds: float,
        clock: wherry_clock.Clock | None = None,
        metrics: wherry_metrics.Metrics | None = None,
    ) -> None:
        self._transport = transport
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._clock = clock or wherry_clock.LoopClock()
        self._metrics = metrics

    async def call(self, address: addresses.Address, request: messages.Request[M], timeout_seconds: float | None = None) -> M:
        """Send and wait for the answer.

        :raises HostUnreachable: at once, when no agent of that host listens; ConductorUnreachable when no conductor does.
        :raises RpcTimeout: when somebody listens and does not answer in time; what became of the request is not known.
        :raises Error: the other side's error, rebuilt; its unexpected ones as RemoteFailure with `remote_traceback`.
        """
        name = type(request).__name__
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        started = self._clock.monotonic()
        result = "failed"
        try:
            answer = await self._transport.request(
                addresses.subject(address, self._sender, name), envelope.pack(request, _request_id()), limit
            )
            reply = envelope.unpack_answer(request, answer)
            result = "ok"
            return reply
        except base.NoResponders:
            result = "no_responders"
            raise _unreachable(address) from None
        except base.NoAnswer:
            result = "timeout"
            raise errors.RpcTimeout(what=name, host=address.host or address.role.value, seconds=limit) from None
        except errors.Error as error:
            result = error.slug
            raise
        finally:
            if self._metrics is not None:
                self._metrics.rpc_call_seconds.labels(method=name, result=result).observe(self._clock.monotonic() - started)

    async def cast(self, address: addresses.Address, message: messages.Message) -> None:
        """Send and forget. Nobody listening is no error: what a cast says can also be found another way."""
        subject = addresses.subject(address, self._sender, type(message).__name__)
        await self._transport.publish(subject, envelope.pack(message, _request_id()))


def _request_id() -> str:
    # Bound by the API's middleware, and by the server for what it handles; so one id marks the lines of every process.
    return logs.current("request_id")


def _unreachable(address: addresses.Address) -> errors.Error:
    if address.role is addresses.Role.AGENT:
        return errors.HostUnreachable(host=address.host)
    return errors.ConductorUnreachable()
