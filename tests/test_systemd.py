"""The unit: systemd itself says that it is well-formed and how exposed it is. And setup lays it and takes it away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pbxd.installation import FILES, put, take_away

UNITS = Path(__file__).parent.parent / "systemd"
MOST_EXPOSED = 20  # tenths: an exposure of 2.0


@pytest.mark.parametrize("unit", ["pbxd.service", "pbxhub.service"])
def test_exposure_is_at_most_2(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNITS / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout


def test_the_unit_is_well_formed(tmp_path: Path) -> None:
    said: list[str] = []
    put(tmp_path, said.append)
    unit = tmp_path / FILES["pbxd.service"]
    assert f"ExecStart={Path(sys.executable).parent}/pbxd run" in unit.read_text()
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    own = [line for line in done.stderr.splitlines() if "pbxd.service" in line]
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
