# SPDX-License-Identifier: Apache-2.0
"""Whether the source's libvirtd reaches the destination's. Never starts a transfer.

Only the source's libvirtd can tell, and libvirt has no call that asks it. But a peer-to-peer migration connects to the destination
before it compares the definition it was given with the guest's own: so one is asked for with another guest's uuid, and, should any
libvirt ever skip that comparison, with an address for memory that every destination refuses before it starts a QEMU. (Not with another
size: libvirt corrects a size that its NUMA cells contradict, and would migrate.) Seen on libvirt 9.0: refused in 5 ms as "does not
match" when the destination was reached, with the connection's own error when not; no event, no change of state, nothing at the
destination but the connection. Meanwhile the guest is locked against other jobs, also while a connection attempt hangs (the kernel
gives up after some two minutes), hence the plain connection attempt first, where this process runs on the source's own machine and so
has its view of the network. That one also tries the address for memory, which no listener answers before a migration: a refusal proves
the way, silence does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
import uuid

import libvirt

from wherry import errors
from wherry.drivers.libvirt import domain_xml, job, transfer_call
from wherry.drivers.libvirt import errors as libvirt_errors

_PORTS = {"tcp": 16509, "tls": 16514, "ssh": 22, "libssh": 22, "libssh2": 22}
#: First port of QEMU's range for incoming migrations.
_MEMORY_PORT = 49152
#: No destination takes memory at such an address.
_NO_SUCH_SCHEME = "wherry-rehearsal://nowhere"


def is_local(uri: str) -> bool:
    """Whether a hypervisor at this URI is on this machine."""
    return not urllib.parse.urlsplit(uri).netloc


async def try_addresses(connection_uri: str, transfer_uri: str, seconds: float) -> str:
    """Connect from here to libvirtd's and to the memory's address; give what is wrong, empty for nothing."""
    parts = urllib.parse.urlsplit(connection_uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[2])
    if parts.hostname and port:
        problem = await _try(parts.hostname, port, seconds)
        if problem:
            return f"{parts.hostname} port {port}: {problem}"
    memory = urllib.parse.urlsplit(transfer_uri)
    if memory.hostname:
        problem = await _try(memory.hostname, memory.port or _MEMORY_PORT, seconds, is_refusal_fine=True)
        if problem:
            return f"{memory.hostname}: {problem}"
    return ""


async def _try(address: str, port: int, seconds: float, *, is_refusal_fine: bool = False) -> str:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except ConnectionRefusedError as problem:
        return "" if is_refusal_fine else str(problem)
    except OSError as problem:
        return str(problem)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


def rehearse(connection: libvirt.virConnect, call: transfer_call.Call, source: str, destination: str) -> None:
    """Have the source's libvirtd connect to the destination's, and refuse to do more.

    :raises MigrationAddressUnreachable: when it cannot.
    :raises CheckFailed: when libvirt has another reason to refuse this migration.
    """
    domain = connection.lookupByUUIDString(call.instance_uuid)
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE)
    marker = str(uuid.uuid4())
    parameters = {**call.parameters, libvirt.VIR_MIGRATE_PARAM_DEST_XML: domain_xml.with_identity(text, marker)}
    if not call.flags & libvirt.VIR_MIGRATE_TUNNELLED:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = _NO_SUCH_SCHEME
    try:
        domain.migrateToURI3(call.connection_uri, parameters, call.flags)
    except libvirt.libvirtError as problem:
        detail = libvirt_errors.text(problem)
        # The uuid, not the words: those may be translated.
        if libvirt_errors.code(problem) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED and marker in detail:
            return
        is_about_connection = _is_about_connection(problem) or call.connection_uri in detail
        if is_about_connection and connection.isAlive():
            raise errors.MigrationAddressUnreachable(
                source=source, host=destination, address=call.connection_uri, detail=detail
            ) from problem
        if libvirt_errors.code(problem) in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_TIMEOUT) or not connection.isAlive():
            raise
        current = job.read(domain)
        if current.name:
            # It began after the check had looked for one.
            raise errors.JobActive(job=current.name, host=source) from problem
        raise errors.CheckFailed(detail=f"libvirt of {source} refuses to migrate the guest: {detail}") from problem


def _is_about_connection(problem: libvirt.libvirtError) -> bool:
    # The errors of the source's own attempt to open the destination, as its remote driver makes them.
    return problem.get_error_domain() in (
        libvirt.VIR_FROM_RPC,
        libvirt.VIR_FROM_REMOTE,
        libvirt.VIR_FROM_SSH,
        libvirt.VIR_FROM_AUTH,
        libvirt.VIR_FROM_LIBSSH,
    ) or libvirt_errors.code(problem) in (
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_GNUTLS_ERROR,
    )
