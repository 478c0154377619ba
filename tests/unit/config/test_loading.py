# SPDX-License-Identifier: Apache-2.0
"""Files, environment and overrides: who wins, what is refused, and what the refusal says."""

from __future__ import annotations

import dataclasses
import pathlib
import socket
from collections.abc import Callable

import pytest

from wherry import config, errors
from wherry.config import option as opt

Write = Callable[[str], pathlib.Path]


@pytest.fixture
def write(tmp_path: pathlib.Path) -> Write:
    """Write a configuration file and return its path."""

    def write_file(text: str) -> pathlib.Path:
        path = tmp_path / f"wherry{len(list(tmp_path.iterdir()))}.conf"
        path.write_text(text)
        return path

    return write_file


def _refusal(
    files: list[pathlib.Path], environ: dict[str, str] | None = None, overrides: dict[str, dict[str, object]] | None = None
) -> str:
    with pytest.raises(errors.ConfigInvalid) as caught:
        config.load(files, environ or {}, overrides)
    return str(caught.value)


OPTIONS = [option for section in config.SECTIONS.values() for option in opt.describe(section)]


def test_without_any_source_every_option_has_its_default() -> None:
    """Every declared option is read, and only derived ones differ from their declaration."""
    loaded = config.load([], {})
    for attribute, section in config.SECTIONS.items():
        for option in opt.describe(section):
            value = getattr(getattr(loaded, attribute), option.name)
            if option.derived or option.name == "policy_file":
                assert value, option.name
            else:
                assert value == option.default, option.name
                assert type(value) is type(option.default), option.name


def test_what_is_derived() -> None:
    """An empty host is this machine, and paths follow state_path."""
    loaded = config.load([], {"OS_DEFAULT__STATE_PATH": "/srv/w"})
    assert loaded.default.host == socket.gethostname()
    assert loaded.database.connection == "sqlite:////srv/w/wherry.sqlite"
    assert loaded.agent.journal_path == "/srv/w/agent"


def test_the_environment_wins_over_files_and_a_later_file_over_an_earlier(write: Write) -> None:
    first = write("[api]\nbind_port = 1\nmax_limit = 1\nmax_request_body_bytes = 2000\n")
    second = write("[api]\nbind_port = 2\nmax_limit = 2\n")
    loaded = config.load([first, second], {"OS_API__BIND_PORT": "3"})
    assert (loaded.api.bind_port, loaded.api.max_limit, loaded.api.max_request_body_bytes) == (3, 2, 2000)


def test_overrides_win_over_everything() -> None:
    loaded = config.load([], {"OS_API__BIND_PORT": "3"}, {"api": {"bind_port": 4}, "agent": {"hosts": ("a=b", "c=d")}})
    assert loaded.api.bind_port == 4
    assert loaded.agent.hosts == ("a=b", "c=d")


def test_the_environment_of_the_process_counts_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_BUS__DRAIN_TIMEOUT_SECONDS", "1.5")
    assert config.load().bus.drain_timeout_seconds == 1.5


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: f"{option.section}.{option.name}")
def test_every_option_can_be_set_by_file_and_environment_alike(option: opt.Option, write: Write) -> None:
    """The text of the default, written out, means the default."""
    text = option.shown_default()
    value = text if option.kind is not str or text else option.default
    path = write(f"[{option.section}]\n{option.name} = {'' if value is None else value}\n")
    assert config.load([path], {}) == config.load([path], {option.environment_name: text})


def test_the_configuration_cannot_be_changed() -> None:
    loaded = config.load([], {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.api.bind_port = 1  # type: ignore[misc]  # that it is refused is the claim
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.api = config.ApiSection()  # type: ignore[misc]  # that it is refused is the claim


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[DEFAULT]\nmax_concurent_live_migrations = 3",
            "[DEFAULT] has no option max_concurent_live_migrations; did you mean max_concurrent_live",
        ),
        ("[libvirtt]\na = 1", "there is no section [libvirtt]; did you mean [libvirt]?"),
        ("[default]\ndebug = true", "there is no section [default]; did you mean [DEFAULT]?"),
        ("[libvirt]\nbind_port = 1", "[libvirt] has no option bind_port; it belongs to [api]"),
        ("[zzzz]\na = 1", "the sections are [DEFAULT], [api]"),
        ("[api]\nqqqq = 1", "its options are bind_host, bind_port"),
        (
            "[libvirt]\nlive_migration_downtime = 99",
            "live_migration_downtime = '99' is not accepted; it takes an integer of 100 or more (milliseconds)",
        ),
        ("[libvirt]\nlive_migration_timeout_action = kill", "= 'kill' is not accepted; it takes one of abort, force_complete"),
        ("[libvirt]\nlive_migration_uri = qemu+tcp://host/system", "it takes a URI that contains %s once, or nothing"),
        ("[api]\nbind_port = 65536", "an integer from 0 to 65535"),
        ("[api]\nbind_port = http", "an integer from 0 to 65535"),
        ("[api]\nbind_port =", "an integer from 0 to 65535"),
        ("[DEFAULT]\ndebug = maybe", "true or false"),
        ("[database]\nconnection = mysql://x", "postgresql+asyncpg://USER:PASSWORD@HOST/NAME, and no MariaDB, MySQL or other database"),
        ("[DEFAULT]\nhost = a b", "a name of at most 255 letters"),
        ("[api]\nshutdown_grace_seconds = nan", "a number of 0 or more (seconds)"),
        ("bind_port = 1", "line 1"),
        ("[api]\nwhat is this", "line 2"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_remedy(write: Write, text: str, expected: str) -> None:
    path = write(text + "\n")
    message = _refusal([path])
    assert str(path) in message
    assert expected in message


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("OS_API__BIND_PROT", "[api] has no option bind_prot; did you mean bind_port?"),
        ("OS_APY__BIND_PORT", "there is no section [apy]; did you mean [api]?"),
        ("OS_API__bind_port", "write OS_API__BIND_PORT"),
        ("OS_API__BIND_PORT", "bind_port = 'x' is not accepted; it takes an integer from 0 to 65535"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named_with_the_remedy(variable: str, expected: str) -> None:
    message = _refusal([], {variable: "x"})
    assert f"environment variable {variable}" in message
    assert expected in message


def test_variables_of_openstack_clients_are_not_ours() -> None:
    assert config.load([], {"OS_AUTH_URL": "http://k", "OS_USERNAME": "u", "PATH": "/bin"}) == config.load([], {})


def test_all_problems_are_told_at_once(write: Write) -> None:
    path = write("[api]\nbind_port = x\nmax_limit = 0\nfoo = 1\n")
    message = _refusal([path], {"OS_BUS__URL": "x://"})
    assert all(word in message for word in ("bind_port", "max_limit", "foo", "OS_BUS__URL"))


@pytest.mark.parametrize(("wanted", "least"), [("10", "at least 17, or to 0"), ("0", "to 0")])
def test_fewer_threads_than_migrations_are_refused(wanted: str, least: str) -> None:
    """Nine are left of sixteen: six carry other calls, one watches."""
    environ = {"OS_LIBVIRT__MAX_WORKER_THREADS": "16", "OS_DEFAULT__MAX_CONCURRENT_LIVE_MIGRATIONS": wanted}
    message = _refusal([], environ)
    assert "max_worker_threads carries 9 migrations" in message
    assert least in message
    config.load([], environ | {"OS_DEFAULT__MAX_CONCURRENT_LIVE_MIGRATIONS": "9"})
    config.load([], environ | {"OS_LIBVIRT__MAX_WORKER_THREADS": "0"})


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: pathlib.Path) -> None:
    assert "nowhere.conf: cannot be read" in _refusal([tmp_path / "nowhere.conf"])
    assert "cannot be read" in _refusal([tmp_path])
    (tmp_path / "binary.conf").write_bytes(b"[api]\nbind_host = \xff\xfe\n")
    assert "is not UTF-8 text" in _refusal([tmp_path / "binary.conf"])


def test_a_wrong_secret_is_not_repeated() -> None:
    message = _refusal([], {"OS_DATABASE__CONNECTION": "mysql://root:hunter2@db/w"})
    assert "hunter2" not in message
    assert "(hidden)" in message


def test_other_options_are_inserted_by_name_and_a_dollar_sign_is_doubled(write: Write) -> None:
    path = write("[agent]\njournal_path = $state_path/j\n[database]\nconnection = postgresql+asyncpg://u:a$$b@h/w\n")
    loaded = config.load([path], {"OS_DEFAULT__STATE_PATH": "/s"})
    assert loaded.agent.journal_path == "/s/j"
    assert loaded.database.connection == "postgresql+asyncpg://u:a$b@h/w"
    assert "write $$ for a dollar sign" in _refusal([write("[database]\nconnection = postgresql+asyncpg://u:a$b@h/w\n")])


def test_an_empty_value_of_an_optional_option_means_none(write: Write) -> None:
    path = write("[libvirt]\nlive_migration_inbound_addr =\nlive_migration_scheme =\n")
    loaded = config.load([path], {})
    assert loaded.libvirt.live_migration_inbound_addr is None
    assert loaded.libvirt.live_migration_scheme is None


def test_a_relative_policy_file_lies_beside_the_configuration_file(write: Write) -> None:
    path = write("[oslo_policy]\npolicy_file = rules.yaml\n")
    (path.parent / "rules.yaml").write_text("{}")
    assert config.load([path], {}).policy.policy_file == str(path.parent / "rules.yaml")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"libvirt": {"live_migration_tunnelled": True, "live_migration_with_native_tls": True}}, "exclude each other"),
        ({"libvirt": {"live_migration_tunnelled": True, "live_migration_permit_post_copy": True}}, "no post-copy through a tunnel"),
        ({"api": {"bind_host": "0.0.0.0"}}, "allow_unsafe_noauth_bind"),
        ({"conductor": {"lease_seconds": 1.0, "lease_renew_interval_seconds": 0.6}}, "at most half of lease_seconds"),
        ({"conductor": {"step_retry_initial_seconds": 20.0}}, "step_retry_max_seconds"),
        ({"DEFAULT": {"service_down_time_seconds": 10.0}}, "greater than report_interval_seconds"),
        ({"agent": {"hosts": ("h1",)}}, "'h1' is not NAME=URI"),
        ({"agent": {"hosts": ("h1=a", "h1=b")}}, "names h1 twice"),
        ({"agent": {"hosts": ("h1=a",), "migration_addresses": ("h2=10.0.0.1",)}}, "names h2, which is not among hosts (h1)"),
        ({"agent": {"availability_zones": ("h1",)}}, "'h1' is not NAME=ZONE"),
        ({"agent": {"availability_zones": ("h1=a:b",)}}, "without colon"),
        ({"agent": {"hosts": ("h1=a",), "availability_zones": ("h2=east",)}}, "availability_zones names h2, which is not among hosts (h1)"),
        ({"agent": {"reconnect_initial_seconds": 99.0}}, "reconnect_max_seconds"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(overrides: dict[str, dict[str, object]], expected: str) -> None:
    assert expected in _refusal([], {}, overrides)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_noauth_may_listen_on_loopback(host: str) -> None:
    assert config.load([], {}, {"api": {"bind_host": host}}).api.bind_host == host


def test_hosts_of_an_agent() -> None:
    """One process may serve several hosts, each with its own migration address."""
    libvirt = {"live_migration_inbound_addr": "10.9.9.9", "connection_uri": "qemu:///session"}
    several = config.load(
        [],
        {
            "OS_AGENT__HOSTS": "h1=qemu+tcp://10.0.0.1/system?a=b, h2=qemu:///system",
            "OS_AGENT__MIGRATION_ADDRESSES": "h1=10.1.0.1",
        },
        {"libvirt": libvirt},
    )
    assert several.agent_hosts() == (
        config.AgentHost(name="h1", connection_uri="qemu+tcp://10.0.0.1/system?a=b", migration_address="10.1.0.1"),
        config.AgentHost(name="h2", connection_uri="qemu:///system", migration_address="10.9.9.9"),
    )
    one = config.load([], {"OS_DEFAULT__HOST": "me"}, {"libvirt": libvirt})
    assert one.agent_hosts() == (config.AgentHost(name="me", connection_uri="qemu:///session", migration_address="10.9.9.9"),)


def test_a_reload_takes_over_mutable_options_only(write: Write) -> None:
    path = write("[libvirt]\nlive_migration_completion_timeout = 800\n[api]\nbind_port = 1\n")
    before = config.load([path], {})
    path.write_text("[libvirt]\nlive_migration_completion_timeout = 5\n[api]\nbind_port = 2\n")
    after = config.reload(before, [path], {})
    assert after.changed == ("libvirt.live_migration_completion_timeout",)
    assert after.needs_restart == ("api.bind_port",)
    assert after.config.libvirt.live_migration_completion_timeout == 5
    assert after.config.api.bind_port == 1
    assert before.libvirt.live_migration_completion_timeout == 800


def test_a_reload_of_a_wrong_file_changes_nothing(write: Write) -> None:
    path = write("[api]\nbind_port = 1\n")
    before = config.load([path], {})
    path.write_text("[api]\nbind_port = x\n")
    with pytest.raises(errors.ConfigInvalid):
        config.reload(before, [path], {})
    assert before.api.bind_port == 1


def test_settings_for_the_log_hold_no_secret() -> None:
    loaded = config.load([], {"OS_DATABASE__CONNECTION": "postgresql+asyncpg://u:hunter2@h/n"})
    shown = dict(config.settings(loaded))
    assert len(shown) == len(OPTIONS)
    assert shown["database.connection"] == "(hidden)"
    assert shown["api.bind_port"] == "8774"


def test_novas_options_have_novas_defaults() -> None:
    """Operators carry their files over; these must mean what they meant."""
    libvirt, default = config.LibvirtSection(), config.DefaultSection()
    assert (
        dataclasses.asdict(libvirt).items()
        >= {
            "live_migration_completion_timeout": 800,
            "live_migration_timeout_action": "abort",
            "live_migration_downtime": 500,
            "live_migration_downtime_steps": 10,
            "live_migration_downtime_delay": 75,
            "live_migration_permit_post_copy": False,
            "live_migration_permit_auto_converge": False,
            "live_migration_bandwidth": 0,
            "live_migration_parallel_connections": 1,
            "live_migration_tunnelled": False,
            "live_migration_with_native_tls": False,
            "live_migration_inbound_addr": None,
            "live_migration_scheme": None,
            "live_migration_uri": None,
            "live_migration_monitor_interval": 5,
        }.items()
    )
    assert default.max_concurrent_live_migrations == 1
    assert default.migrate_max_retries == -1
    mutable = {option.name for option in opt.describe(config.LibvirtSection) if option.is_mutable}
    assert {"live_migration_completion_timeout", "live_migration_timeout_action"} <= mutable
