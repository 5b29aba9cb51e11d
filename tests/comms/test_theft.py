"""What a thief of the store's disk has, for keys that lie in every place that there is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbxd.comms import theft
from pbxd.comms.theft import Lying

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
DISK = Lying(Path("/store"), "disk", frozenset({"sda"}))


class Sysfs:
    """Block devices as sysfs tells of them, of which a device number is one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "dev" / "block").mkdir(parents=True)

    def device(self, name: str, *slaves: str, **files: str) -> Path:
        node = self.folder / "devices" / name
        (node / "slaves").mkdir(parents=True)
        for slave in slaves:
            (node / "slaves" / Path(slave).name).symlink_to(self.folder / "devices" / slave)
        for file, text in files.items():
            path = node / file.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        return node

    def mounted(self, device: int, name: str) -> None:
        link = self.folder / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
        link.unlink(missing_ok=True)
        link.symlink_to(self.folder / "devices" / name)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    made = Sysfs(tmp_path / "sys")
    made.device("sda")
    made.device("sda/sda1", partition="1")
    made.device("sda/sda2", partition="2")
    made.device("sdb", removable="1")
    made.device("dm-0", "sda/sda2", dm__uuid="CRYPT-LUKS2-0123-vault")
    made.device("dm-1", "dm-0", dm__uuid="LVM-0123")  # a logical volume in it
    made.device("dm-2", "sda/sda2", "sdb", dm__uuid="LVM-4567")  # one over two disks
    made.device("md0", "dm-0", "sdb")  # a mirror of which one half is encrypted
    return made


@pytest.mark.parametrize(
    ("device", "disks", "sealed"),
    [
        ("sda/sda1", {"sda"}, False),
        ("sdb", {"sdb"}, False),
        ("dm-0", {"sda"}, True),
        ("dm-1", {"sda"}, True),
        ("dm-2", {"sda", "sdb"}, False),
        ("md0", {"sda", "sdb"}, False),
    ],
)
def test_the_disks_below_a_file(sysfs: Sysfs, tmp_path: Path, device: str, disks: set[str], *, sealed: bool) -> None:
    number = tmp_path.stat().st_dev
    if not os.major(number):
        pytest.skip("the folder of tests is on no block device")
    sysfs.mounted(number, device)
    found = theft.lying(tmp_path / "not" / "there" / "yet", sysfs.folder)
    assert found == Lying(found.path, "disk", frozenset(disks), sealed)


@pytest.mark.parametrize(
    ("key", "risk"),
    [
        (Lying(Path("/key"), "disk", frozenset({"sda"})), "taken"),
        (Lying(Path("/key"), "disk", frozenset({"sda", "sdb"})), "taken"),  # on a volume over both
        (Lying(Path("/key"), "disk", frozenset({"sda"}), sealed=True), "none"),
        (Lying(Path("/key"), "disk", frozenset({"sdb"})), "none"),
        (Lying(Path("/key"), "memory"), "none"),
        (Lying(Path("/key"), "another machine"), "none"),
        (Lying(Path("/key"), "unknown"), "unknown"),
    ],
)
def test_what_is_taken_with_the_disk(key: Lying, risk: str) -> None:
    assert theft.judged(DISK, key).risk == risk
    assert theft.judged(Lying(Path("/store"), "disk", DISK.disks, sealed=True), key).risk == "none"


def test_this_machines_own_places(tmp_path: Path) -> None:
    """Nothing is made up: the root's disk is the same for both; /dev/shm is memory; /proc is nothing that can be told."""
    here, beside = theft.lying(tmp_path / "comms"), theft.lying(tmp_path / "keys" / "comms.key")
    assert (here.kind, here.disks, here.sealed) == (beside.kind, beside.disks, beside.sealed)
    assert theft.lying(Path("/dev/shm/key")).kind == "memory"
    assert theft.lying(Path("/proc/self/key")).kind == "unknown"


@ROOT
class TestMounted:
    """File systems that are really mounted."""

    @pytest.fixture
    def image(self, tmp_path: Path) -> Iterator[Path]:
        """A file system within a file, which looks like another device and is none."""
        file, point = tmp_path / "image", tmp_path / "with blank"
        point.mkdir()
        with file.open("wb") as made:
            made.truncate(8 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", str(file)], check=True)
        done = subprocess.run(["mount", "-o", "loop", str(file), str(point)], check=False, capture_output=True)
        if done.returncode:
            pytest.skip("there are no loop devices here")
        yield point
        subprocess.run(["umount", str(point)], check=True)

    def test_another_device_of_the_same_disk_is_no_other_disk(self, image: Path, tmp_path: Path) -> None:
        assert image.stat().st_dev != tmp_path.stat().st_dev
        found, store = theft.lying(image / "comms.key"), theft.lying(tmp_path)
        assert found.disks == store.disks
        assert theft.judged(store, found).risk == ("none" if store.sealed else "taken" if store.disks else "unknown")

    def test_a_folder_in_memory(self, tmp_path: Path) -> None:
        point = tmp_path / "with blank"
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "pbxd", str(point)], check=True)
        try:
            assert theft.lying(point / "comms.key").kind == "memory"
        finally:
            subprocess.run(["umount", str(point)], check=True)


class TestCredentials:
    """Credentials as systemd-creds encrypts them."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        made = tmp_path / "etc" / "credstore.encrypted"
        made.mkdir(parents=True)
        return made

    def test_the_hosts_key_alone_is_a_file_on_the_disk(self, store: Path, tmp_path: Path) -> None:
        secret, plain = tmp_path / "secret", tmp_path / "plain"
        plain.write_text("AGE-SECRET-KEY-1\n")
        command = [
            "systemd-creds",
            "encrypt",
            "--with-key=host",
            "--name=comms-key",
            str(plain),
            str(store / "comms-key"),
        ]
        subprocess.run(
            command, check=True, capture_output=True, env=os.environ | {"SYSTEMD_CREDENTIAL_SECRET": str(secret)}
        )
        here = Lying(tmp_path, "disk", theft.lying(tmp_path).disks or frozenset({"sda"}))
        found = theft.credential(here, (tmp_path / "etc",), secret)
        assert found.risk == theft.judged(here, theft.lying(secret)).risk
        assert "sealed with" in found.detail

    @pytest.mark.parametrize(
        ("text", "risk"),
        [
            (
                b"k6iUCUh0RJCQyvL8k8q1UyAAAAABAAAADAAAABAAAAC1lFmbWAqWZ8dCCQkAAAAA",
                "none",
            ),  # systemd.io/CREDENTIALS: host+tpm2
            (b"BYRp2vb1QySABUnaD46i+yAAAAABAAAADAAAABAAAAC1lFmbWAqWZ8dCCQkAAAAA", "taken"),  # without a key
            (b"not one", "unknown"),
        ],
    )
    def test_others(self, store: Path, tmp_path: Path, text: bytes, risk: str) -> None:
        (store / "comms-key").write_bytes(text)
        assert theft.credential(DISK, (tmp_path / "etc",)).risk == risk

    def test_one_that_is_not_encrypted_is_a_file(self, store: Path, tmp_path: Path) -> None:
        plain = store.with_name("credstore")
        plain.mkdir()
        (plain / "comms-key").write_text("AGE-SECRET-KEY-1\n")
        here = theft.lying(tmp_path)
        assert theft.credential(here, (tmp_path / "etc",)) == theft.judged(here, theft.lying(plain / "comms-key"))

    def test_one_from_elsewhere_cannot_be_told(self, tmp_path: Path) -> None:
        assert theft.credential(DISK, (tmp_path,)).risk == "unknown"

    def test_a_key_that_was_left_in_its_file_counts(self, tmp_path: Path) -> None:
        credentials, key = tmp_path / "credentials", tmp_path / "comms.key"
        credentials.mkdir()
        (credentials / "comms-key").touch()
        before = theft.risk(tmp_path / "comms", key, credentials)
        assert before.risk == "unknown"
        key.touch()
        found = theft.risk(tmp_path / "comms", key, credentials)
        if theft.judged(theft.lying(tmp_path), theft.lying(key)).risk == "taken":
            assert (found.risk, "as well" in found.detail) == ("taken", True)
