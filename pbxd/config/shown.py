"""The configuration as the vendor's people may see it: what is known to be plain. A new key is hidden until it is named here."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pbxd.config.schema import Config, keys, value_of

HIDDEN = frozenset(  # of the differences that the customer is shown before an answer
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
ELIDED = "…"  # stands for what is not shown
HERE = re.compile(r"(127\.0\.0\.1|\[::1\]|localhost)(:\d{1,5})?")
# Keys that are text, and the form in which it holds no name, number, address or path: of a list, each item by itself.
FORMS: Mapping[str, re.Pattern[str]] = {
    "site.time_zone": re.compile(r"UTC|Etc/GMT[+-]?\d{0,2}|[A-Z][A-Za-z]{1,15}(/[A-Z][A-Za-z_-]{1,30}){1,2}"),
    "site.trunks": re.compile(r"(?!.*[0-9]{5})[A-Za-z0-9]{2,10}/[A-Za-z*][A-Za-z0-9_.*-]{0,39}"),
    "ami.host": HERE,
    "metrics.listen": HERE,
    "agi.listen": HERE,
    "agi.directory.by": re.compile("last|first"),
    "agi.lookup.country": re.compile(r"\+[1-9][0-9]{0,3}"),
    "agi.lookup.trunk_prefix": re.compile("[0-9]{0,3}"),
    "agi.lookup.international_prefix": re.compile("[0-9]{0,4}"),
}


def is_plain(info: FieldInfo) -> bool:
    """Whether a key's values are numbers, yes or no, or words of the schema. Text, paths, secrets and addresses are not."""
    return all(_plain(one) for one in _alternatives(info.annotation))


def _alternatives(annotation: Any) -> list[Any]:  # noqa: ANN401 - a type
    """The kinds that a key's value may have."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in _alternatives(part)]
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    return [annotation]


def _plain(kind: Any) -> bool:  # noqa: ANN401 - a type
    return kind in (bool, int, float, type(None)) or typing.get_origin(kind) is Literal


def shown(config: Config, prefix: str = "") -> dict[str, Any]:
    """Every key with its value as JSON has it, or with what stands for it; `prefix` is a key or a group. Empty if there is none."""
    values = config.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, info in keys().items():
        if not prefix or key == prefix or key.startswith(f"{prefix}."):
            value: Any = values
            for name in key.split("."):
                value = value[name]
            found[key] = value if _may_be_seen(config, key, info) else elided(key, value)
    return found


def _may_be_seen(config: Config, key: str, info: FieldInfo) -> bool:
    """Numbers and words of the schema may, and what the schema itself says where nothing is configured."""
    value = value_of(config, key)
    if isinstance(value, SecretStr):
        return False
    default = info.get_default(call_default_factory=True)
    return value is None or is_plain(info) or (default is not PydanticUndefined and value == default)


def elided(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """What is shown instead of a value: of its text what has the form of its key; of other lists and maps how long they are."""
    form = FORMS.get(key)
    if isinstance(value, list) and form is not None:
        return [elided(key, one) for one in value]
    if isinstance(value, list | dict):
        return f"{ELIDED} ({len(value)})"
    return value if form is not None and isinstance(value, str) and form.fullmatch(value) else ELIDED
