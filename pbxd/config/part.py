"""What all groups of keys are made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RESTART: dict[str, Any] = {"restart": True}  # a change of this key takes effect at the next start, not at a reload


def at_start(default: Any, text: str) -> Any:  # noqa: ANN401 - pydantic's own Field is Any
    """A key whose change needs a restart."""
    return Field(default, description=text, json_schema_extra=RESTART)


class Part(BaseModel):
    """A group of keys; unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
