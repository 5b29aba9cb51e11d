"""Small parts: sensors, what a refused sign-in means, an outbox whose other process hangs."""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest

from pbxd.errors import HubAway, HubRefused, HubUntrusted, LedgerError, UplinkError
from pbxd.uplink import outbox as outbox_module
from pbxd.uplink.enrolment import LinkSettings
from pbxd.uplink.outbox import Outbox
from pbxd.uplink.secure import Identity, _refused, dial, trusted
from pbxd.uplink.vitals import temperatures

HOUR = 3600


def test_temperatures(tmp_path: Path) -> None:
    for number, (chip, value) in enumerate([("coretemp", "41500"), ("nvme", "asleep"), ("strange", "-3000")]):
        folder = tmp_path / f"hwmon{number}"
        folder.mkdir()
        (folder / "name").write_text(chip + "\n")
        (folder / "temp1_input").write_text(value + "\n")
    assert list(temperatures(tmp_path)) == [{"sensor": "cpu", "celsius": 41.5}, {"sensor": "other", "celsius": -3.0}]


def identity(after: int, before: int) -> Identity:
    authority, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = authority.generate_user_certificate(
        key, "box", valid_after=after, valid_before=before, principals=["box"]
    )
    return Identity(key, certificate)


@pytest.mark.parametrize(
    ("said", "after", "before", "why"),
    [
        ("revoked", -HOUR, HOUR, "revoked"),
        ("unknown", -HOUR, HOUR, "unknown"),
        ("", -HOUR, HOUR, "unknown"),
        ("expired", -2 * HOUR, -HOUR, "expired"),
        ("not-yet-valid", HOUR, 2 * HOUR, "not-yet-valid"),
        ("expired", -HOUR, HOUR, "clock"),  # by our clock it holds: one of the two clocks is wrong
        ("not-yet-valid", -HOUR, HOUR, "clock"),
        ("clock", -HOUR, HOUR, "clock"),
    ],
)
def test_each_refusal_has_its_own_word(said: str, after: int, before: int, why: str) -> None:
    now = int(time.time())
    error = _refused(said, identity(now + after, now + before), now, asyncssh.PermissionDenied("no"))
    assert isinstance(error, HubRefused)
    assert error.why == why


def test_a_busy_hub_is_tried_again_and_a_token_is_not() -> None:
    assert isinstance(_refused("busy", None, 0, asyncssh.PermissionDenied("no")), HubAway)
    error = _refused("", None, 0, asyncssh.PermissionDenied("no"))
    assert isinstance(error, HubRefused)
    assert error.why == "token"


def test_nobody_is_trusted_by_default() -> None:
    with pytest.raises(UplinkError, match="nobody can be trusted"):
        trusted([])
    with pytest.raises(UplinkError, match="host_keys"):
        trusted(["ssh-ed25519 nonsense"])


@pytest.mark.parametrize(("valid", "wanted"), [((-HOUR, HOUR), HubAway), ((-2 * HOUR, -HOUR), HubRefused)])
async def test_a_hub_s_certificate_out_of_time_is_a_matter_of_clocks(
    valid: tuple[int, int], wanted: type[UplinkError]
) -> None:
    """The authority is pinned: a certificate of it that has expired is `clock`, one of another authority is no hub of ours."""
    now = int(time.time())
    authority, other, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    certificate = authority.generate_host_certificate(
        key, "hub", principals=["127.0.0.1"], valid_after=now + valid[0], valid_before=now + valid[1]
    )
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[(key, certificate)], server_factory=Closing)
    pins = [f"@cert-authority {one.export_public_key().decode().strip()}" for one in (authority, other)]
    address = f"127.0.0.1:{server.get_port()}"
    errors: tuple[type[UplinkError], ...] = (wanted, HubUntrusted)
    for pin, error in zip(pins, errors, strict=True):
        settings = LinkSettings(address, (pin,), 10.0, 2, 1.0, 1.0, None, "", "0", "")
        with pytest.raises(error) as raised:
            await dial(settings, "box", identity(now - HOUR, now + HOUR), now)
        if isinstance(raised.value, HubRefused):
            assert raised.value.why == "clock"
    server.close()
    await server.wait_closed()


class Closing(asyncssh.SSHServer):
    """Says that it is busy."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh's signature
        self.connection.send_auth_banner("pbxd-why: busy\n")
        return True

    def public_key_auth_supported(self) -> bool:
        return True


@pytest.mark.parametrize("classical", [False, True])
async def test_ssh_audit_has_nothing_against_the_link(*, classical: bool) -> None:
    """No failure and no warning; where the customer wants the fallback of key exchange, a warning of that."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).parent / "ssh-audit")
    command = [sys.executable, program, "-c", "-p", str(port), "-t", "60", "-j"]
    audit = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    settings = LinkSettings(f"127.0.0.1:{port}", (key,), 10.0, 2, 1.0, 1.0, None, "", "0", "", classical)
    now = int(time.time())
    while True:
        with pytest.raises((HubAway, HubUntrusted)) as raised:
            await dial(settings, "box", identity(now - HOUR, now + HOUR), now)
        if "Errno 111" not in str(raised.value):
            break
        await asyncio.sleep(0.1)  # it does not listen yet
    said = json.loads((await audit.communicate())[0])
    notes = [
        (one["algorithm"], level)
        for kind in ("kex", "key", "enc", "mac")
        for one in said[kind]
        for level in ("fail", "warn")
        if one["notes"].get(level)
    ]
    assert notes == ([("curve25519-sha256", "warn")] if classical else [])
    assert said["cves"] == []


def test_a_link_that_holds_the_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / outbox_module.LOCK).touch()
    with (tmp_path / outbox_module.LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match="held by the other process"), Outbox(tmp_path).locked():
            pass
    with Outbox(tmp_path).locked():
        pass
