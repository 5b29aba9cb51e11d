"""The Asterisk tree: a small Debian with Asterisk 22 in a folder of its own, built once and kept in the cache.

Debian 12 has no Asterisk; the archive's testing suite has the LTS release, which runs well from a tree of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

PROJECT = Path(__file__).parent.parent
SUITE = "forky"
PACKAGES = "asterisk,asterisk-modules,asterisk-core-sounds-en-wav,ca-certificates,baresip-core,libfaketime"
HOST_PACKAGES = {"mmdebstrap": "mmdebstrap", "sipp": "sip-tester", "sox": "sox", "systemd-analyze": "systemd"}
READY = "pbxd-lab-tree"

Say = Callable[[str], None]


class LabError(Exception):
    """The lab cannot be had; the message says why and what was tried."""


def environment() -> dict[str, str]:
    """For our own commands: found wherever they are started."""
    return {**os.environ, "PYTHONPATH": str(PROJECT)}


def cache_folder() -> Path:
    """Where the tree is kept: `$PBXD_LAB_CACHE`, or `/var/cache/pbxd-lab`."""
    return Path(os.environ.get("PBXD_LAB_CACHE", "/var/cache/pbxd-lab"))


def run(command: list[str], what: str) -> None:
    """Run `command`; a failure is a LabError with the end of what it printed."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LabError(f"{what} failed (exit {done.returncode}): {' '.join(command)}\n{tail}")


def need_root() -> None:
    """The lab mounts, makes namespaces and drops to another user: it needs root, and says so at once."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes mount and process namespaces for its Asterisk. Run it with sudo.")


def ensure_host_packages(say: Say, packages: Mapping[str, str] = HOST_PACKAGES) -> None:
    """Install what runs on the host itself, if it is not there: the lab's tools, or those of `packages` (tool -> package)."""
    missing = sorted({package for tool, package in packages.items() if shutil.which(tool) is None})
    if not missing:
        return
    say(f"installing {', '.join(missing)} (apt)")
    run(["apt-get", "update", "-q"], "apt-get update")
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], "apt-get install")


def ensure_tree(say: Say) -> Path:
    """The folder of the Asterisk tree; built now if the cache has none. One builder at a time."""
    need_root()
    ensure_host_packages(say)
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / f"asterisk-{SUITE}"
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = tree / READY
        if not ready.exists() or ready.read_text() != PACKAGES:  # an older lab made it with fewer
            build(tree, say)
    return tree


def mirror() -> list[str]:
    """The Debian mirror to build from, where `$PBXD_LAB_MIRROR` names one."""
    named = os.environ.get("PBXD_LAB_MIRROR")
    return [named] if named else []


def build(tree: Path, say: Say) -> None:
    """Unpack Debian's Asterisk into `tree` (about 40 s, 350 MB)."""
    say("building the lab's Asterisk tree, once (about 40 s)")
    unfinished = tree.with_name(tree.name + ".new")
    for old in (unfinished, tree):
        if old.exists():
            shutil.rmtree(old)
    options = ["--variant=minbase", f"--include={PACKAGES}", '--aptopt=Acquire::Check-Valid-Until "false"']
    run(
        ["mmdebstrap", *options, "--dpkgopt=path-exclude=/usr/share/doc/*", SUITE, str(unfinished), *mirror()],
        "building the Asterisk tree",
    )
    # Calls must not wait for DNS: only the hosts file is asked, and it names all that Asterisk looks up.
    (unfinished / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (unfinished / "etc/hosts").touch()  # a place to mount this instance's own over
    (unfinished / "lab").mkdir()
    (unfinished / READY).write_text(PACKAGES)
    unfinished.rename(tree)
    say(f"the tree is ready in {tree}")
