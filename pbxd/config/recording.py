"""The keys of `recording`: whether calls are recorded, which, and where that is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from pbxd.config.part import RESTART, Part, at_start
from pbxd.config.values import AbsolutePath, DialPattern, Duration, Size, WeekHours

IN_MEMORY, ON_DISK = Path("/run/pbxd/spool"), Path("/var/spool/pbxd")
CALLS = 20  # of an hour each
ClassName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class RecordingRule(Part):
    """One rule; a condition that is empty holds for every call."""

    model_config = ConfigDict(serialize_by_alias=True)

    record: Literal["always", "on_demand", "percent", "never"] = Field(description="What is done with these calls.")
    share: float | None = Field(None, gt=0, le=100, description="Percent of the calls, with percent.")
    consent: Literal["announcement", "beep", "none"] = Field(
        "announcement", description="What the parties hear first: see docs/recording.md."
    )
    direction: tuple[Literal["inbound", "outbound", "internal"], ...] = Field((), description="Directions of the call.")
    queue: tuple[str, ...] = Field((), description="Queues that the caller waited in.")
    trunk: tuple[str, ...] = Field((), description="Trunks of the call, as globs on TECH/name.")
    extension: tuple[DialPattern, ...] = Field((), description="Extensions of the party, as dial patterns.")
    number: tuple[DialPattern, ...] = Field((), description="Numbers of an outside party, as dial patterns.")
    class_: str = Field("", alias="class", description="Class of what is recorded by it, by which it is kept.")
    hours: tuple[WeekHours, ...] = Field((), description="When the call began, in site.time_zone: mon-fri 08:00-18:00.")

    @model_validator(mode="after")
    def has_a_share(self) -> RecordingRule:
        """A share belongs to percent and to nothing else."""
        if (self.record == "percent") != (self.share is not None):
            raise ValueError("record: percent needs a share, and no other has one")
        return self


def _check_classes(named: dict[str, str], told: ValidationInfo) -> None:
    """ValueError with all keys of `named` whose class is not in the field `classes`; where that is wrong itself, it says so."""
    if "classes" in told.data:
        known = ("call", *told.data["classes"])
        unknown = [f"{key}: there is no class {name!r}" for key, name in named.items() if name not in known]
        if unknown:
            raise ValueError(f"{'; '.join(unknown)}; there are {', '.join(known)}: name others in recording.classes")


class Recording(Part):
    """Recordings of calls."""

    enabled: bool = at_start(default=False, text="Record calls, as the rules say. Without it nothing is recorded.")
    classes: tuple[ClassName, ...] = Field(
        (), description="Classes of recordings, beside call, which all others are of."
    )
    rules: tuple[RecordingRule, ...] = Field((), description="Which calls are recorded: see docs/recording.md.")
    pause_on_digits: bool = at_start(
        default=True, text="Keep nothing while a party presses keys, and for some seconds after."
    )
    digits_after: Duration = Field(3.0, description="For how long after the last key.")
    announcement: str = Field(
        "this-call-may-be-monitored-or-recorded",
        description="Sound of Asterisk that the FastAGI route announce plays.",
    )
    beep_every: Duration = at_start(15.0, "Time between the beeps of a recording whose consent is a beep.")
    codec: Literal["opus", "flac"] = at_start(
        "opus", "How recordings are stored: Ogg Opus, or FLAC, which loses nothing."
    )
    keep: Duration | None = Field(None, description="Recordings are deleted this long after their end; empty is never.")
    keep_classes: dict[str, Duration] = Field(
        default_factory=dict, description="How long classes are kept that have a time of their own: {call: 90d}."
    )
    keep_at_least: Duration = Field(0.0, description="Nobody deletes a recording before this time, not even root.")
    keep_free: Size | None = Field(
        None, description="With less than this free, the oldest recordings that may go are deleted; empty is never."
    )
    spool: AbsolutePath | None = at_start(
        None,
        "Folder in which Asterisk writes while a call goes on; empty is /run/pbxd/spool, or where there is more room.",
    )
    spool_on_disk: AbsolutePath | None = at_start(
        None, "A second one, where the first has no room; empty is /var/spool/pbxd, or none if spool is set."
    )
    spool_calls: int | None = Field(
        None,
        ge=0,
        description="Calls of an hour that must fit into the first for it to be used first; empty is 20, or 0 if spool is set.",
        json_schema_extra=RESTART,
    )
    spool_in_asterisk: AbsolutePath | None = at_start(
        None, "The folder `spool` as Asterisk sees it, if it runs in a container; empty is the same."
    )
    spool_group: str = at_start("asterisk", "Group by which Asterisk may write there.")
    spool_reserve: Size = at_start(
        64 * 1024**2, "Free space there; with less than half of it nothing is recorded, until all of it is free."
    )

    @field_validator("rules")
    @classmethod
    def rules_name_classes(cls, rules: tuple[RecordingRule, ...], told: ValidationInfo) -> tuple[RecordingRule, ...]:
        """Rules are of classes that there are."""
        _check_classes({f"rules.{n}.class": rule.class_ for n, rule in enumerate(rules) if rule.class_}, told)
        return rules

    @field_validator("keep_classes")
    @classmethod
    def times_are_of_classes(cls, times: dict[str, float], told: ValidationInfo) -> dict[str, float]:
        """Times are of classes that there are."""
        _check_classes({f"keep_classes.{name}": name for name in times}, told)
        return times

    @property
    def kept(self) -> dict[str, float | None]:
        """All classes, and for how long each is kept, in seconds; None is for ever."""
        return {name: self.keep_classes.get(name, self.keep) for name in ("call", *self.classes)}

    @property
    def spools(self) -> tuple[Path, ...]:
        """The folders in which recordings are made; where nothing is said, that in memory and that on a disk."""
        second = self.spool_on_disk if self.spool or self.spool_in_asterisk else self.spool_on_disk or ON_DISK
        first = self.spool or IN_MEMORY
        return (first,) if second in (None, first) else (first, second)

    @property
    def hours_wanted(self) -> int:
        """Hours of calls for which the first of them must have room to be used first; 0 is any."""
        return self.spool_calls if self.spool_calls is not None else 0 if self.spool else CALLS
