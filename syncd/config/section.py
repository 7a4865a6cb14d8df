"""What every section of the configuration is made of: keys, and how they are checked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def key(
    description: str, default: Any = None, *, example: Any = None, derived: str = "", **rules: Any
) -> Any:
    """A key with what the sample says about it.

    Args:
        description: one or two sentences for people.
        default: the value where nobody names one; a callable makes it.
        example: another value worth showing.
        derived: words for a default that depends on the machine or on another key.
        rules: further checks, as pydantic's `Field` knows them.
    """
    source = {"default_factory": default} if callable(default) else {"default": default}
    return Field(
        **source,
        description=description,
        examples=None if example is None else [example],
        json_schema_extra={"derived": derived} if derived else None,
        **rules,
    )


class Section(BaseModel):
    """A table of the file: frozen, every key known, defaults checked like anything else."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )
