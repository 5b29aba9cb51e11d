"""What somebody has who steals the disk that the store lies on: whether the store's key is on it, in the clear.

A file lies on the disks below its file system (sysfs: /sys/dev/block, Documentation/ABI/stable/sysfs-block); a device-mapper target
whose uuid begins with CRYPT- (cryptsetup's) seals what is above it. A systemd credential lies in a credstore, as it is or encrypted
(systemd.io/CREDENTIALS): with the TPM's key, which no disk has, or with the host's, which is a file.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pbxd.comms.keys import CREDENTIAL

SYSFS, MOUNTS = Path("/sys"), Path("/proc/self/mountinfo")
SEALED = "CRYPT-"
MEMORY = ("tmpfs", "ramfs")
ELSEWHERE = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "fuse.sshfs")  # file systems of another machine
CREDSTORES = tuple(Path(root) for root in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
HOST_SECRET = Path("/var/lib/systemd/credential.secret")
# Ids of the key at the beginning of an encrypted credential: systemd's src/shared/creds-util.h.
BY_HOST = ("5a1c6a86df9d4096b1d5a65e0862f19a", "55b9ed1d38594d43a8319d2ebb332ac6")
BY_TPM = (
    "0c7cc07b117645919c4b0bea08bc20fe",
    "faf7eb9341e3412ca1a436f95a29362f",
    "93a894094874449090caf2fc93cab553",
    "ef4ac13679a9480ea7db68897f9f165d",
    "af4950a849134eb1a73846304ff30c05",
    "adbc4ca3efb64201ba881b6f2e4095ea",
)
BY_NOTHING = "058469daf6f54324800549da0f8ea2fb"
LONGEST_ID = 64  # characters of an encrypted credential that are looked at

Kind = Literal["disk", "memory", "another machine", "unknown"]
Risk = Literal["none", "unknown", "taken"]


@dataclass(frozen=True, slots=True)
class Lying:
    """Where a file lies."""

    path: Path
    kind: Kind
    disks: frozenset[str] = frozenset()  # names of whole disks: sda
    sealed: bool = False  # dm-crypt is between it and each of them

    def __str__(self) -> str:
        return f"{self.path} (on {', '.join(sorted(self.disks)) or self.kind}{', encrypted' if self.sealed else ''})"


@dataclass(frozen=True, slots=True)
class Theft:
    """What a thief of the store's disk has."""

    risk: Risk  # taken: he has the key too
    detail: str


def lying(path: Path, sysfs: Path = SYSFS, mounts: Path = MOUNTS) -> Lying:
    """Where a file lies, or would lie. OSError if it may not be looked for."""
    place = next(one for one in (path, *path.parents) if one.exists())
    device = place.stat().st_dev
    if os.major(device):
        return _on(path, device, sysfs, mounts)
    form, source = _mounted(place.resolve(), mounts)
    if form in MEMORY:
        return Lying(path, "memory")
    if form in ELSEWHERE:
        return Lying(path, "another machine")
    if source.startswith("/dev/") and Path(source).is_block_device():  # btrfs has devices of its own
        return _on(path, Path(source).stat().st_rdev, sysfs, mounts)
    return Lying(path, "unknown")  # overlay, zfs, …: what is below them cannot be told


def _mounted(place: Path, mounts: Path) -> tuple[str, str]:
    """Type and source of the file system that a path is on (proc_pid_mountinfo(5))."""
    best, found = -1, ("", "")
    for line in mounts.read_text().splitlines():
        fields, _, behind = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")  # a blank is \040
        if place.is_relative_to(point) and len(point) >= best:
            best, found = len(point), (behind.split()[0], behind.split()[1])
    return found


def _on(path: Path, device: int, sysfs: Path, mounts: Path) -> Lying:
    node = sysfs / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    if not node.exists():
        return Lying(path, "unknown")
    disks, sealed = _below(node.resolve(), sysfs, mounts)
    return Lying(path, "disk" if disks else "unknown", disks, sealed)


def _below(node: Path, sysfs: Path, mounts: Path) -> tuple[frozenset[str], bool]:
    """The whole disks below a block device, and whether dm-crypt is on every way to them."""
    if (node / "partition").exists():
        return _below(node.parent, sysfs, mounts)
    own = _text(node / "dm" / "uuid").startswith(SEALED)
    if backing := _text(node / "loop" / "backing_file"):
        file = lying(Path(backing), sysfs, mounts)
        return file.disks, own or file.sealed
    below = [_below(one.resolve(), sysfs, mounts) for one in sorted((node / "slaves").glob("*"))]
    if not below:
        return frozenset({node.name}), own
    return frozenset().union(*(disks for disks, _ in below)), own or all(sealed for _, sealed in below)


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def judged(store: Lying, key: Lying) -> Theft:
    """What is taken with the store's disk, if the key is in this file."""
    if store.sealed:
        return Theft("none", f"the disk of {store} is encrypted")
    if key.sealed or key.kind in ("memory", "another machine"):
        return Theft("none", f"the key is in {key}, the store in {store}")
    if store.kind == "disk" and key.kind == "disk":
        if not store.disks & key.disks:
            return Theft("none", f"the key is on another disk: {key}, the store in {store}")
        return Theft("taken", f"the key {key} lies in the clear on the disk of the store {store}")
    return Theft(
        "unknown",
        f"whether the key {key} is on the disk of the store {store}, or one is encrypted, cannot be seen here",
    )


def risk(folder: Path, key_file: Path, credentials: Path | None) -> Theft:
    """What a thief of the disk of the store in `folder` has, as far as this user may look."""
    try:
        store = lying(folder)
        if credentials is None or not (credentials / CREDENTIAL).exists():
            return judged(store, lying(key_file))
        found = credential(store)
        left = judged(store, lying(key_file)) if key_file.exists() else found
    except OSError as error:
        return Theft("unknown", f"where the key lies cannot be looked at: {error.strerror}: {error.filename}")
    if left.risk == "taken":
        return Theft("taken", f"the key is a systemd credential, and {left.detail} as well")
    return found


def credential(store: Lying, roots: tuple[Path, ...] = CREDSTORES, secret: Path = HOST_SECRET) -> Theft:
    """The same for a key that is a systemd credential, by what lies in the credstores. OSError if they may not be looked at."""
    for root in roots:
        for name, look in (("credstore.encrypted", _encrypted), ("credstore", None)):
            file = root / name / CREDENTIAL
            if file.exists():
                return judged(store, lying(file)) if look is None else look(store, file, secret)
    return Theft(
        "unknown",
        f"the key is a systemd credential; no {CREDENTIAL} is in a credstore, so where it comes from cannot be seen",
    )


def _encrypted(store: Lying, file: Path, secret: Path) -> Theft:
    with file.open("rb") as opened:
        text = opened.read(LONGEST_ID)
    try:
        name = base64.b64decode(text[: len(text) // 4 * 4])[:16].hex()
    except binascii.Error:
        name = ""
    if name in BY_TPM:
        return Theft("none", f"the key is a credential that this machine's TPM seals ({file})")
    if name in BY_HOST:
        found = judged(store, lying(secret))
        return Theft(found.risk, f"the credential {file} is sealed with {secret} only: {found.detail}")
    if name == BY_NOTHING:
        return Theft("taken" if not store.sealed else "none", f"the credential {file} is sealed with nothing")
    return Theft("unknown", f"with what the credential {file} is sealed cannot be told")
