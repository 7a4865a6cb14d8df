"""What the one definition prints: the commented sample, the reference table, the values in force."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from syncd.config import model, sources

NAME = "NAME"  # in the place of a name that the user gives
WIDTH = 96  # characters of a comment line, without its mark
_TOP = """\
# syncd configuration: every key with its default. Made by `syncd config example`.
# A line `# key = value` shows the default, or an example where the default is none or is told
# in words above it.
# Each key can also be set in the environment: SYNCD_SECTION__KEY.
# Secrets never stand here: name a file that holds them.
"""


def example() -> str:
    """The commented sample file; reading it changes no default."""
    parts = [_TOP]
    for keys, section, defaults in _sections(_defaults()):
        mark = "# " if keys[-1] == NAME else ""  # of these there are none by default
        parts.append("\n" + "".join(_comment(_summary(section))) + f"{mark}[{'.'.join(keys)}]\n")
        parts += [_sample_key(name, known, defaults[name]) for name, known in _keys(section)]
    return "".join(parts)


def reference() -> str:
    """Every key as Markdown tables, for the documentation."""
    parts: list[str] = []
    for keys, section, defaults in _sections(_defaults()):
        parts.append(f"\n## `[{'.'.join(keys)}]`\n\n{_summary(section)}\n\n")
        parts.append("| key | default | meaning |\n|---|---|---|\n")
        for name, known in _keys(section):
            default = "none" if defaults[name] is None else f"`{_toml(defaults[name])}`"
            row = (f"`{name}`", _derived(known) or default, known.description or "")
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n")
    return "".join(parts).lstrip("\n")


def document(config: model.Config) -> dict[str, Any]:
    """The values in force as plain JSON, the password of a database left out."""
    values = config.model_dump(mode="json")
    values["engine"]["database"] = without_password(config.engine.database)
    return values


def show(loaded: sources.Loaded) -> str:
    """The values in force as TOML; what somebody set says where."""
    parts = [f"# {loaded.file or 'no configuration file'}\n"]
    for keys, section, table in _sections(document(loaded.config)):
        parts.append(f"\n[{'.'.join(keys)}]\n")
        for name, _ in _keys(section):
            if table[name] is None:
                parts.append(f"# {name} is not set\n")
                continue
            origin = loaded.origins.get(".".join((*keys, name)), "default")
            source = "" if origin == "default" else f"  # {origin}"
            parts.append(f"{name} = {_toml(table[name])}{source}\n")
    return "".join(parts)


def without_password(url: str) -> str:
    """The database URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def _defaults() -> dict[str, Any]:
    values = model.Config().model_dump(mode="json")
    for name, section in sources.named_tables():
        values[name] = {NAME: section.model_construct().model_dump(mode="json")}
    return values


def _sections(
    values: Mapping[str, Any],
    above: sources.Keys = (),
) -> Iterator[tuple[sources.Keys, type[BaseModel], Mapping[str, Any]]]:
    """Every table of the file in order: its keys, its model, its part of the values."""
    for name, inner in values.items():
        keys = (*above, name)
        section = sources.section_at(keys)
        if section is not None:
            yield keys, section, inner
            yield from _sections(inner, keys)
        elif not above and name in dict(sources.named_tables()):
            yield from _sections(inner, keys)


def _keys(section: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, known in section.model_fields.items():
        if known.description:  # tables have a docstring instead
            yield name, known


def _sample_key(name: str, known: FieldInfo, default: object) -> str:
    lines = list(_comment(known.description or ""))
    derived = _derived(known)
    shown = None if derived else default
    if derived:
        lines += _comment(f"Default: {derived}.")
    example = known.examples[0] if known.examples else None
    if shown is None:
        shown, example = example, None
    elif example is not None:
        lines += _comment(f"Example: {_toml(example)}")
    return f"{''.join(lines)}# {name} = {_toml(shown)}\n"


def _comment(text: str) -> Iterator[str]:
    line = "##"
    for word in text.split():
        if len(line) + len(word) >= WIDTH:
            yield f"{line}\n"
            line = "##"
        line += f" {word}"
    yield f"{line}\n"


def _summary(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


def _derived(known: FieldInfo) -> str:
    extra = known.json_schema_extra
    return str(extra.get("derived", "")) if isinstance(extra, dict) else ""


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's spelling of text, numbers and lists is also TOML's."""
    return json.dumps(value, ensure_ascii=False)
