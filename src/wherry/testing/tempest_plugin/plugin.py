# SPDX-License-Identifier: Apache-2.0
"""What tempest asks of a plugin: where its tests are, and its options. The entry point of the group tempest.test_plugins names it."""

from __future__ import annotations

import pathlib
from typing import Any

from oslo_config import cfg
from tempest.test_discover import plugins

from wherry.testing.tempest_plugin import options

_HERE = pathlib.Path(__file__).parent


class WherryTempestPlugin(plugins.TempestPlugin):
    """Wherry's tests."""

    def load_tests(self) -> tuple[str, str]:
        """Give the directory of the tests, and that which holds the outermost package."""
        return str(_HERE / "tests"), str(_HERE.parents[2])

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Make the options known."""
        conf.register_group(options.GROUP)
        conf.register_opts(options.OPTIONS, options.GROUP)

    def get_opt_lists(self) -> list[tuple[str, list[Any]]]:
        """Give the options for a sample of tempest.conf."""
        return [(options.GROUP.name, options.OPTIONS)]
