# SPDX-License-Identifier: Apache-2.0
"""The enforcer: rules with the operator's overrides, asked for one caller and one project at a time.

The only importer of oslo.policy. An object that is handed down; there is no global one.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from wherry import errors
from wherry.auth import context
from wherry.policies import base

#: Checks that ask another service: they would block the event loop, and an answer could not be kept.
_REMOTE_CHECK = re.compile(r"\bhttps?:")
#: May this caller (user, project, roles) do what the rule is about to something of that project?
_Answer = Callable[[str, str, str, frozenset[str], str], bool]
#: Answers that are kept; oslo.policy needs some 90 us for each.
_KEPT_ANSWERS = 8192


class Enforcer:
    """Answers whether a caller may do something.

    The file is read when the enforcer is made and at `reload`, not at each question: oslo.policy would look at the file's time stamp for
    each of them.

    :param policy_file: absolute path of the operator's overrides; it need not exist
    :raises ConfigInvalid: when the file cannot be read or names rules that do not exist
    """

    def __init__(self, rules: Iterable[base.Rule], policy_file: str = "") -> None:
        self._rules = tuple(rules)
        self._policy_file = policy_file
        self._answer = self._load()

    def allows(self, rule: str, caller: context.RequestContext, project_id: str | None = None) -> bool:
        """Say whether the rule lets the caller act on something of that project; without one, on what belongs to the caller's own."""
        return self._answer(rule, caller.user_id, caller.project_id, caller.roles, caller.project_id if project_id is None else project_id)

    def require(self, rule: str, caller: context.RequestContext, project_id: str | None = None) -> None:
        """Let it pass or raise.

        :raises Forbidden: naming the rule
        """
        if not self.allows(rule, caller, project_id):
            raise errors.Forbidden(rule=rule)

    def reload(self) -> None:
        """Read the file again; when it is wrong, the rules in force stay.

        :raises ConfigInvalid: as at the start
        """
        self._answer = self._load()

    def _load(self) -> _Answer:
        has_file = bool(self._policy_file) and pathlib.Path(self._policy_file).is_file()
        return _answer_of(self._rules, self._policy_file) if has_file else _built_in(self._rules)


@functools.lru_cache(maxsize=4)
def _built_in(rules: tuple[base.Rule, ...]) -> _Answer:
    """Without a file the same rules always give the same answers: found once in a process, however many enforcers it makes."""
    return _answer_of(rules, "")


def _answer_of(rules: tuple[base.Rule, ...], policy_file: str) -> _Answer:
    conf = cfg.ConfigOpts()
    conf([], project="wherry", default_config_files=[], default_config_dirs=[])
    enforcer = oslo_policy.Enforcer(conf, policy_file=policy_file or None, use_conf=bool(policy_file))
    enforcer.register_defaults([_documented(rule) for rule in rules])
    try:
        # The directory policy.d is oslo.policy's own idea of more files; only the one file that the configuration names counts here.
        conf.set_override("policy_dirs", [], group="oslo_policy")
        enforcer.load_rules(force_reload=True)
        enforcer.check_rules(raise_on_violation=True)
    except (oslo_policy.InvalidDefinitionError, OSError, ValueError, TypeError, AttributeError) as error:
        raise errors.ConfigInvalid(
            where=policy_file or "built-in policies",
            # In one line; YAML's own words come with an excerpt.
            problem=" ".join(str(error).split()),
            instead='Write one `"rule name": "check"` a line, and only rules of the policy sample in a check.',
        ) from error
    # oslo.policy takes a check that it cannot read for one that lets nobody pass, and says so in a traceback.
    unread = sorted(name for name, rule in enforcer.file_rules.items() if str(rule.check) == "!" and rule.check_str.strip() != "!")
    if unread:
        raise errors.ConfigInvalid(
            where=policy_file,
            problem=f"the check of {', '.join(unread)} cannot be read",
            instead='Write checks such as "role:admin and project_id:%(project_id)s", or "!" for nobody.',
        )
    unknown = sorted(set(enforcer.file_rules) - set(enforcer.registered_rules))
    if unknown:
        raise errors.ConfigInvalid(
            where=policy_file, problem=f"unknown rules: {', '.join(unknown)}", instead="Use the names of the policy sample."
        )
    remote = sorted(name for name, check in enforcer.rules.items() if _REMOTE_CHECK.search(str(check)))
    if remote:
        raise errors.ConfigInvalid(
            where=policy_file,
            problem=f"http checks in {', '.join(remote)}",
            instead="Use roles, projects, users and other rules.",
        )
    enforcer.use_conf = False

    # An answer depends on nothing but these five, so it is found once.
    @functools.lru_cache(maxsize=_KEPT_ANSWERS)
    def answer(rule: str, user_id: str, project_id: str, roles: frozenset[str], concerned: str) -> bool:
        target = {"project_id": concerned, "user_id": user_id}
        return bool(enforcer.enforce(rule, target, {"user_id": user_id, "project_id": project_id, "roles": list(roles)}))

    return answer


def _documented(rule: base.Rule) -> Any:
    if not rule.operations:
        return oslo_policy.RuleDefault(name=rule.name, check_str=rule.check, description=rule.description)
    operations: list[Any] = []
    for operation in rule.operations:
        method, _, path = operation.partition(" ")
        operations.append({"method": method, "path": path})
    return oslo_policy.DocumentedRuleDefault(rule.name, rule.check, rule.description, operations)
