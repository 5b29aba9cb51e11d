"""The keys of `uplink`: the link to the vendor, and what of the box it may tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pbxd.config.part import at_start
from pbxd.config.support import VendorRules
from pbxd.config.values import AbsolutePath, Address, Duration, MailAddress, Size

HOST_KEY = re.compile(r"(?:@cert-authority )?ssh-ed25519 [A-Za-z0-9+/]{68}(?: [^\n]*)?")


class Uplink(VendorRules):
    """The link to the vendor. It is made once the box is enrolled, never before."""

    enabled: bool = Field(default=True, description="Keep the link up, once the box is enrolled; false is off at once.")
    hub: Address | None = Field(None, description="host:port of the vendor's hub; empty is no link.")
    host_keys: tuple[str, ...] = Field(
        (),
        description="The hub's public keys, as `ssh-ed25519 AAAA…`, or that behind `@cert-authority `; nothing else is trusted.",
    )
    share_statistics: bool = Field(
        default=True, description="Upload call statistics; false queues none, and destroys what was not sent yet."
    )
    outbox: AbsolutePath = at_start(
        Path("/var/lib/pbxd/outbox"), "Folder of the ledger, and of what it says is to be sent."
    )
    state: AbsolutePath = at_start(Path("/var/lib/pbxd-uplink"), "Folder in which the link's process writes.")
    key_file: AbsolutePath = at_start(
        Path("/var/lib/pbxd/keys/ledger.key"), "Key that signs the ledger, made at enrolment. Not in the outbox."
    )
    group: str = at_start("pbxd-uplink", "Group by which the link's user may read the outbox.")
    bandwidth: Size | None = Field(None, description="Bytes a second that it may send; empty is as the line allows.")
    keepalive: Duration = Field(
        20.0, description="Time without a word after which the hub is asked for a sign of life."
    )
    keepalive_count: int = Field(3, ge=1, le=100, description="Unanswered ones after which the link is closed.")
    classical_kex: bool = Field(
        default=False,
        description="Take curve25519 too, of a hub without mlkem768x25519, the key exchange that quantum computers do not break.",
    )
    reconnect_first: Duration = Field(10.0, description="Longest wait before the first new try.")
    reconnect_longest: Duration = Field(600.0, description="Longest wait between two tries, and after a refusal.")
    health_every: Duration = Field(900.0, description="Time between two reports of the box's health.")
    usage_at_least: int = Field(
        10, ge=10, le=100_000, description="Counts of use below this are not told; 10 is the least that it may be."
    )
    keep_bodies: Duration | None = Field(
        2592000.0, description="What was sent can be read for this long; then its hash stays. Empty is for ever."
    )
    checkpoints: Literal["none", "syslog", "mail"] = Field(
        "none",
        description="Where the ledger's signed checkpoints go beside the ledger: syslog and mail keep them out of pbxd's reach.",
    )
    checkpoints_to: MailAddress | None = Field(
        None, description="Who is mailed a checkpoint each day and after each switch, by reports.mail."
    )
    checkpoints_log: AbsolutePath = Field(Path("/dev/log"), description="Socket of the system's log.")

    @field_validator("host_keys")
    @classmethod
    def are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each is a public key of Ed25519."""
        for line in value:
            if not HOST_KEY.fullmatch(line):
                raise ValueError("a host key is a line `ssh-ed25519 AAAA…`, or the same behind `@cert-authority `")
        return value

    @model_validator(mode="after")
    def is_pinned(self) -> Any:  # noqa: ANN401 - Self
        """There is no hub without its key."""
        if self.hub is not None and not self.host_keys:
            raise ValueError("hub needs host_keys: without them anybody could say to be the hub")
        return self

    @model_validator(mode="after")
    def is_addressed(self) -> Any:  # noqa: ANN401 - Self
        """Mail goes to somebody."""
        if self.checkpoints == "mail" and self.checkpoints_to is None:
            raise ValueError("checkpoints: mail needs checkpoints_to, the address that they go to")
        return self
