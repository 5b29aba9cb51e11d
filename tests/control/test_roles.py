"""Who may use which route: every route is in the table, and docs/access.md says what the table says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from starlette.routing import Route

from pbxd.comms.people import ROOT, SYSTEM, Person, Role
from pbxd.control.api import ControlApi
from pbxd.control.roles import OWNERS, RULES, decide, rule_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "access.md"
ROLES = [role for role in get_args(Role) if role not in OWNERS]


def declared() -> set[str]:
    """Every route of the API, as the table names it."""
    routes = ControlApi(SimpleNamespace(communications=None)).app().routes
    assert all(isinstance(route, Route) and route.methods for route in routes)
    return {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]


def test_every_route_is_in_the_table_and_nothing_else_is() -> None:
    assert declared() == set(RULES)


@pytest.mark.parametrize("role", ROLES)
def test_a_route_that_is_not_entered_is_refused_to_everybody_but_the_owner(role: Role) -> None:
    rule = rule_of("POST", "/v1/something/new")
    assert not decide(Person("anna", role), rule).allowed
    assert decide(ROOT, rule).allowed
    assert decide(SYSTEM, rule).allowed


def test_what_looks_is_read_only_and_what_changes_is_the_admins() -> None:
    for name, rule in RULES.items():
        if not rule.by_thing and not name.startswith("GET ") and name != "POST /v1/uplink/verify":
            assert rule.roles == {"admin"}, name
        if rule.urgent:
            assert rule.noted, name


def test_the_page_says_for_whom_each_route_is() -> None:
    """A line of its table: roles, and routes."""
    page = PAGE.read_text().partition("## What else may be asked")[2]
    said = {
        route: set(re.findall(r"[a-z]+", cells[0])) if cells[0].strip() != "everybody" else set(ROLES)
        for line in page.splitlines()
        if line.startswith("| ") and len(cells := line.strip("|").split("|")) == 2
        for route in re.findall(r"`((?:GET|POST|PUT|DELETE) [^`]+)`", cells[1])
    }
    assert said == {name: set(rule.roles) for name, rule in RULES.items() if not rule.by_thing}
