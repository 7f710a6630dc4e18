"""The base of every config model: frozen, and strict about unknown fields."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class ConfigModel(BaseModel):
    """A part of `omnisage.yaml`. Immutable; an unknown field is refused with the nearest known name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for field in values:
                if field not in cls.model_fields:
                    raise ValueError(unknown_name("field", str(field), list(cls.model_fields)))
        return values


def unknown_name(noun: str, given: str, allowed: list[str]) -> str:
    """The message for a name that does not exist: what was given, the nearest name, all allowed names."""
    nearest = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"there is no {noun} '{given}'{hint} (allowed: {', '.join(sorted(allowed)) or 'none'})"
