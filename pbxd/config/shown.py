"""The configuration as the vendor's people may see it: no secrets, no people, no address book."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from pbxd.config.schema import Config, keys, value_of

HIDDEN = frozenset(
    {
        "people",  # names and logins
        "agi.agents",  # names and PINs
        "agi.directory.people",
        "agi.lookup.names",  # the address book
        "agi.lookup.blocked",
        "agi.lookup.allowed",
        "recording.rules",  # may name outside numbers
        "reports.schedules",  # mail addresses
        "reports.mail.username",
        "reports.mail.sender",
        "reports.mail.password",
        "ami.secret",
        "uplink.checkpoints_to",
        "statistics.database",  # may hold a password
    }
)


def shown(config: Config, prefix: str = "") -> dict[str, Any]:
    """Every key that may be seen, with its value as JSON has it; `prefix` is a key or a group."""
    plain = config.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key in keys():
        wanted = not prefix or key == prefix or key.startswith(f"{prefix}.")
        if wanted and key not in HIDDEN and not isinstance(value_of(config, key), SecretStr):
            value: Any = plain
            for name in key.split("."):
                value = value[name]
            found[key] = value
    return found
