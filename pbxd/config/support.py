"""The keys of `uplink` that are the customer's rules for the vendor: who may look, and what becomes of what comes down."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from pbxd.config.part import Part, at_start
from pbxd.config.values import AbsolutePath, Duration


class VendorRules(Part):
    """Support sessions, proposals, notices."""

    allow_shell: bool = Field(
        default=False, description="A ticket may have the scope shell, in which communications can be seen."
    )
    support_longest: Duration = Field(28800.0, description="Longest time that a support ticket may be open.")
    support: AbsolutePath = at_start(
        Path("/var/lib/pbxd/support"), "Folder of tickets, recordings of sessions, proposals and messages."
    )
    accepted: AbsolutePath = at_start(
        Path("/var/lib/pbxd/accepted.yaml"),
        "Changes that were proposed and that you accepted; read after all other files.",
    )
    health_wait: Duration = Field(
        5.0, description="How long the doctor may find more than before, until an accepted change is taken back."
    )
    proposals: Literal["ask", "refuse"] = Field(
        "ask", description="Changes that are proposed: ask is that you answer each; refuse is that there are none."
    )
    notices: Literal["show", "hide"] = Field(
        "show", description="Notices of the vendor; those that affect security are always shown."
    )
    offers: Literal["ask", "refuse"] = Field("ask", description="Updates that are offered: ask is that they are shown.")
