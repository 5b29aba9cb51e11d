"""The documentation says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pbxd.asterisk import events, snippets
from pbxd.calls.disposition import CAUSE, DIAL_STATUS
from pbxd.calls.interpreter import records
from pbxd.calls.record import as_json
from pbxd.calls.site import Site
from pbxd.cli import daemon as pbxd_cli
from pbxd.cli import hub as pbxhub_cli
from pbxd.cli import main as pbxctl_cli
from pbxd.control.api import ControlApi

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def first_column(text: str) -> set[str]:
    return {
        name for row in re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE) for name in re.findall(r"`([a-z_]+)`", row)
    }


def test_every_field_of_a_record_is_defined(journals: Path) -> None:
    text = (PROJECT / "docs" / "call-record.md").read_text()
    (record,) = records((journals / "queue.csv").read_bytes().splitlines(), Site())
    json = as_json(record)
    head, legs, queues = (
        text.partition("## Disposition")[0],
        text.partition("## legs")[2],
        text.partition("## queues")[2],
    )
    assert first_column(head) == set(json)
    assert first_column(legs.partition("## queues")[0]) == set(json["legs"][0])
    assert first_column(queues) == set(json["queues"][0])


def test_every_reason_is_defined() -> None:
    text = (PROJECT / "docs" / "call-record.md").read_text()
    for _, reason in [*DIAL_STATUS.values(), *CAUSE.values()]:
        assert f"`{reason}`" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    """Each `pbxd …` and `pbxctl …` that a page tells to run is a command that answers to --help."""
    runner = CliRunner()
    text = page.read_text()
    blocks = (
        "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL)) + "\n" + "\n".join(re.findall(r"`([^`\n]+)`", text))
    )
    for program, words in re.findall(r"(?:^|/bin/|&& |\n)(pbxd|pbxctl|pbxhub) ([a-z-]+(?: [a-z]+)?)", blocks):
        app = {"pbxd": pbxd_cli.app, "pbxctl": pbxctl_cli.app, "pbxhub": pbxhub_cli.app}[program]
        groups = ("agi ", "calls ", "report ") if program != "pbxhub" else ("staff ",)
        command = words.split()[:2] if words.startswith(groups) else words.split()[:1]
        result = runner.invoke(app, [*command, "--help"])
        assert result.exit_code == 0, (page.name, program, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_route_is_listed() -> None:
    text = (PROJECT / "docs" / "control.md").read_text()
    nobody = SimpleNamespace(communications=None)  # only the routes are looked at
    for route in ControlApi(nobody).app().routes:
        assert f"{route.path}`" in text, route  # type: ignore[attr-defined]


def test_keyed_digits_are_written_nowhere_and_asked_for_only_to_pause() -> None:
    assert not any("DTMF" in name for name in (*events.USED, *snippets.EVENTS))
    assert "dtmf" not in events.event_mask(events.USED)
    assert "dtmf" in events.event_mask((*events.USED, *events.KEYS))
