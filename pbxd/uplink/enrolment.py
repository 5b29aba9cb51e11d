"""What the enrolment gave."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from pbxd.errors import UplinkError
from pbxd.uplink.files import read_json

NAME = "enrolment.json"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """This box's place with the vendor."""

    box: str
    hub: str
    until: str
    support_ca: str
    message_key: str
    ledger: str


def read(outbox: Path) -> Enrolment | None:
    """The enrolment, None if there was none."""
    value = read_json(outbox / NAME)
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {field.name for field in fields(Enrolment)}:
        raise UplinkError(f"{outbox / NAME} holds no enrolment")
    return Enrolment(**value)
