"""Puts pbxd onto a box beside its Python: the unit, its user, logrotate, /etc/pbxd. And takes it off again.

Never overwrites a configuration; says each thing that it did. `root` is / but in tests.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from pbxd.errors import PbxdError

FILES = {  # shipped file -> where it goes
    "pbxd.service": "etc/systemd/system/pbxd.service",
    "pbxd-uplink.service": "etc/systemd/system/pbxd-uplink.service",
    "pbxd-uplink.path": "etc/systemd/system/pbxd-uplink.path",
    "pbxd-scripts.service": "etc/systemd/system/pbxd-scripts.service",
    "pbxd-scripts.socket": "etc/systemd/system/pbxd-scripts.socket",
    "pbxd.sysusers": "etc/sysusers.d/pbxd.conf",
    "pbxd.tmpfiles": "etc/tmpfiles.d/pbxd.conf",
    "pbxd.logrotate": "etc/logrotate.d/pbxd",
    "pbxd.yaml": "etc/pbxd/pbxd.yaml",
}
CONFIGURATION = ("pbxd.yaml",)  # left alone if it is there, and kept when pbxd goes
DATA = ("var/lib/pbxd", "var/lib/pbxd-uplink", "var/spool/pbxd", "etc/pbxd")  # taken away with --purge only
UNIT_COMMAND = "/opt/pbxd/bin/pbxd"

Say = Callable[[str], None]


def shipped(name: str) -> Path:
    """A file that came with pbxd: installed with the wheel, or in the project's own tree."""
    project = Path(__file__).parent.parent
    places = [
        Path(sysconfig.get_path("data")) / "share" / "pbxd" / name,
        project / "systemd" / name,
        project / "etc" / name,
    ]
    for place in places:
        if place.exists():
            return place
    raise PbxdError(f"{name} did not come with this pbxd; install it from the project's own folder")


def put(root: Path, say: Say) -> None:
    """Lay every file. PbxdError if one cannot be written."""
    command = str(Path(sys.executable).parent / "pbxd")
    for name, place in FILES.items():
        target = root / place
        if name in CONFIGURATION and target.exists():
            say(f"{target}: is there, left as it is")
            continue
        text = shipped(name).read_text().replace(UNIT_COMMAND, command)
        if target.exists() and target.read_text() == text:
            say(f"{target}: is there already")
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        except OSError as error:
            raise PbxdError(f"{target} cannot be written: {error.strerror}; run this as root") from error
        say(f"{target}: written")


def take_away(root: Path, say: Say, *, purge: bool) -> None:
    """Remove what `put` laid; configuration and data only with `purge`."""
    for name, place in FILES.items():
        target = root / place
        if target.exists() and (name not in CONFIGURATION or purge):
            target.unlink()
            say(f"{target}: removed")
    for place in DATA:
        folder = root / place
        if folder.exists():
            if purge:
                subprocess.run(["rm", "-rf", "--", str(folder)], check=True)
            say(f"{folder}: {'removed' if purge else 'kept; --purge removes it'}")


def activate(say: Say) -> None:
    """Make the user and let systemd read its files again; what cannot be done is said, with the command to do it by hand."""
    for command in (
        ["systemd-sysusers", "/etc/sysusers.d/pbxd.conf"],
        ["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/pbxd.conf"],
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "--now", "pbxd-uplink.path"],
        ["systemctl", "enable", "--now", "pbxd-scripts.socket"],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            problem = done.stderr.strip() if done.returncode else ""
        except OSError as error:
            problem = str(error.strerror)
        say(f"{' '.join(command)}: {problem or 'done'}")
