"""Changes of the configuration that the vendor proposed, and what the customer said to each. A file each; no decisions here."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pbxd.config.overlay import Change
from pbxd.errors import ProposalError
from pbxd.uplink.files import make_folder, read_json, write_whole

State = Literal["asked", "invalid", "refused", "trial", "applied", "rolled-back", "undone"]
# asked    waits for the customer
# invalid  the configuration does not take it; nobody is asked
# refused  the customer, or the rule uplink.proposals, said no
# trial    is in force, and its health is being looked at
# applied  is in force
# rolled-back  was in force, and pbxd took it back by itself
# undone   was in force, and the customer took it back
IN_FORCE: tuple[State, ...] = ("trial", "applied")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One of them. Times are seconds since the epoch."""

    id: str  # 8 hex digits
    source: str  # `ticket ID`, or `message ID`
    by: str  # who proposed it, as the vendor says
    reason: str
    changes: tuple[Change, ...]
    made: float
    state: State = "asked"
    why: str = ""  # it is in this state
    answered: float | None = None
    answered_by: str = ""  # user of this machine, or pbxd
    difference: tuple[str, ...] = ()  # as it was shown at the last look
    waits: tuple[str, ...] = ()  # keys that are taken up at the next start
    health: dict[str, str] = field(default_factory=dict)  # the doctor's checks before it came into force
    order: int = 0  # of those in force: a later one lies over an earlier one

    @property
    def title(self) -> str:
        """On one line, for the file of accepted changes."""
        return f"{self.id} by {self.by} ({self.source}), accepted by {self.answered_by}: {self.reason}".replace(
            "\n", " "
        )


def as_json(proposal: Proposal) -> dict[str, Any]:
    """For a file and for the API."""
    return asdict(proposal)


def from_json(value: Any) -> Proposal:  # noqa: ANN401 - JSON
    """The proposal of a file. ProposalError if it is none."""
    if not isinstance(value, dict) or set(value) != {one.name for one in fields(Proposal)}:
        raise ProposalError("a proposal's file has other fields than a proposal")
    tuples = {name: tuple(value[name]) for name in ("difference", "waits")}
    return Proposal(**{**value, **tuples, "changes": tuple(Change(**change) for change in value["changes"])})


def new(source: str, by: str, reason: str, changes: tuple[Change, ...], now: float) -> Proposal:
    """One that was not there before."""
    return Proposal(secrets.token_hex(4), source, by, reason, changes, now)


class Proposals:
    """All of this box, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "proposals"
        self._known: dict[str, Proposal] | None = None  # what is in the folder, once it was read; we alone write there

    def all(self) -> list[Proposal]:
        """The oldest first. UplinkError if one cannot be read."""
        if self._known is None:
            found = [from_json(read_json(path)) for path in self.folder.glob("*.json")]
            self._known = {one.id: one for one in found}
        return sorted(self._known.values(), key=lambda one: (one.made, one.id))

    def find(self, name: str) -> Proposal:
        """One by its id. ProposalError if there is none such."""
        for one in self.all():
            if one.id == name:
                return one
        raise ProposalError(f"there is no proposal {name[:40]}; `pbxctl uplink proposals` lists them")

    def keep(self, proposal: Proposal, **update: Any) -> Proposal:  # noqa: ANN401 - fields of a proposal
        """Write it down, with what changed of it."""
        make_folder(self.folder)
        self.all()
        kept = replace(proposal, **update)
        write_whole(self.folder / f"{kept.id}.json", json.dumps(as_json(kept), ensure_ascii=False, indent=1))
        if self._known is not None:
            self._known[kept.id] = kept
        return kept

    def in_force(self) -> list[Proposal]:
        """Those whose changes are part of the configuration, in the order in which they came into force."""
        return sorted((one for one in self.all() if one.state in IN_FORCE), key=lambda one: one.order)
