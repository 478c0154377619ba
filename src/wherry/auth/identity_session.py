# SPDX-License-Identifier: Apache-2.0
"""Wherry's own login at Keystone, as [keystone] says. Knows nothing of what is asked with it."""

from __future__ import annotations

from keystoneauth1 import session
from keystoneauth1.identity import v3

from wherry import __version__, config


def open_session(section: config.KeystoneSection, timeout_seconds: float) -> session.Session:
    """Make a session that logs in when it first has to. It blocks, and may be used by several threads at once.

    :param timeout_seconds: longest wait for a connection, and for each part of an answer.
    """
    return session.Session(
        auth=_plugin(section),
        verify=not section.insecure if section.insecure or not section.cafile else section.cafile,
        cert=_certificate(section),
        timeout=timeout_seconds,
        connect_retries=section.connect_retries,
        app_name="wherry",
        app_version=__version__,
    )


def _plugin(section: config.KeystoneSection) -> v3.Password | v3.ApplicationCredential:
    if section.has_application_credential:
        return v3.ApplicationCredential(
            section.auth_url,
            application_credential_id=section.application_credential_id,
            application_credential_secret=section.application_credential_secret,
        )
    return v3.Password(
        section.auth_url,
        username=section.username,
        password=section.password,
        user_domain_name=section.user_domain_name,
        project_name=section.project_name,
        project_domain_name=section.project_domain_name,
    )


def _certificate(section: config.KeystoneSection) -> str | tuple[str, str] | None:
    if section.certfile and section.keyfile:
        return section.certfile, section.keyfile
    return section.certfile
