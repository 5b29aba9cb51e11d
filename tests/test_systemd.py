"""The unit: systemd itself says that it is well-formed and how exposed it is. And setup lays it and takes it away."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pbxd.installation import FILES, put, take_away

UNITS = [
    Path(__file__).parent.parent / "systemd" / f"{name}.service"
    for name in ("pbxd", "pbxd-uplink", "pbxd-scripts", "pbxhub")
]
MOST_EXPOSED = 20  # tenths: an exposure of 2.0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_exposure_is_at_most_2(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout


def test_the_unit_is_well_formed(tmp_path: Path) -> None:
    said: list[str] = []
    put(tmp_path, said.append)
    unit = tmp_path / FILES["pbxd.service"]
    assert f"ExecStart={Path(sys.executable).parent}/pbxd run" in unit.read_text()
    units = [str(tmp_path / place) for name, place in FILES.items() if name.endswith((".service", ".socket", ".path"))]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    known = re.compile(r"pbxd-(link|scripts) is not executable")
    own = [line for line in done.stderr.splitlines() if "pbxd" in line and not known.search(line)]
    assert own == []


def test_setup_twice_and_away(tmp_path: Path) -> None:
    said: list[str] = []
    put(tmp_path, said.append)
    assert all("written" in line for line in said)
    config = tmp_path / FILES["pbxd.yaml"]
    config.write_text("site: {name: mine}\n")
    said.clear()
    put(tmp_path, said.append)
    assert not any("written" in line for line in said)
    take_away(tmp_path, said.append, purge=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [config]
    take_away(tmp_path, said.append, purge=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
