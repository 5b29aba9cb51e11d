"""The generated dialplan, the documentation and the routes tell of the same applications."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbxd.agi.application import Status
from pbxd.agi.routes import ROUTES, Routes
from pbxd.asterisk.dialplan import SUBROUTINES, dialplan
from pbxd.config.load import load
from tests.agi.peers import ok
from tests.running import Running

PAGE = (Path(__file__).parent.parent.parent / "docs" / "dialplan.md").read_text()
EXAMPLES = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)


def test_each_application_has_its_subroutine_and_its_example() -> None:
    names = {subroutine.name for subroutine in SUBROUTINES}
    assert names == set(ROUTES) | {"script"}
    used = set(re.findall(r"Gosub\(pbxd-([a-z]+),s,1", "".join(EXAMPLES)))
    assert used == names
    for name in ROUTES:
        assert f"\n## {name}: " in PAGE


def test_each_status_is_explained() -> None:
    assert {f"`{status}`" for status in (*Status, "NOSERVER")} == set(
        re.findall(r"^\| (`[A-Z]+`) \|", PAGE, re.MULTILINE)
    )


def test_a_subroutine_presets_and_returns() -> None:
    text = dialplan("127.0.0.9:99")
    for block in text.split("\n[")[1 : len(SUBROUTINES) + 1]:
        assert "Set(PBXD_STATUS=NOSERVER)" in block
        assert "AGI(agi://127.0.0.9:99/" in block
        assert "Return()" in block
    assert "[pbxd-route]\nexten => s,1,Set(" in text


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_of_the_configuration_are_good(example: str, tmp_path: Path) -> None:
    path = tmp_path / "pbxd.yaml"
    path.write_text(example)
    load(path)


def test_a_name_is_taken_once() -> None:
    routes = Routes()
    routes.add("ok", ok)
    assert routes.find("ok") is ok
    with pytest.raises(ValueError, match="taken"):
        routes.add("lookup", ok)


def test_commands(pbxd: Running) -> None:
    assert "nowhere" in pbxd.ctl("agi", "status").stdout
    assert "lookup" in pbxd.ctl("agi", "routes").stdout
    assert pbxd.ctl("agi", "scripts", "--json").returncode in (0, 1)
    text = pbxd.ctl("metrics").stdout
    assert "pbxd_agi_sessions_total 0.0" in text
    assert 'pbxd_agi_outcomes_total{status="OK"} 0.0' in text
