"""Reading the configuration: defaults under one file under the environment, then every mistake.

A file is the first of: the one named, `SYNCD_CONFIG`, `config.toml` here, the user's own. A key in
the environment is `SYNCD_SECTION__KEY`; a list there is written with commas or as JSON. Mistakes
are gathered over all sources before anything is reported.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from syncd import errors
from syncd.config import model

PREFIX = "SYNCD_"
FILE_VARIABLE = "SYNCD_CONFIG"
SDK_URL_VARIABLE = "WANDB_BASE_URL"  # where the wandb client sends WANDB_API_KEY
Keys = tuple[str, ...]
_MESSAGES = {
    "model_type": "must be a table",
    "tuple_type": 'must be a list, for example ["one", "two"]',
    "path_type": "must be a path",
    "string_type": "must be text in quotes",
    "string_pattern_mismatch": "may hold letters, digits, dot, dash and underscore only",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, and where it came from.

    Args:
        config: the checked values.
        file: the file that was read, or None.
        origins: for each key that somebody wrote, the file or variable it stands in.
    """

    config: model.Config
    file: Path | None
    origins: Mapping[str, str]


@dataclass(slots=True)
class _Sources:
    """Raw values of all sources, merged, before any check."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Keys, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, keys: Keys, value: object, origin: str) -> None:
        """Set one key, over what an earlier source said."""
        table = self.values
        for key in keys[:-1]:
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                inner = table[key] = {}
            table = inner
        table[keys[-1]] = value
        self.origins[keys] = origin


def load(path: Path | None, environ: Mapping[str, str]) -> model.Config:
    """The configuration of this machine and this call.

    Args:
        path: the file from `--config`, or None to look in the usual places.
        environ: the environment variables.

    Raises:
        syncd.errors.ConfigurationError: with every mistake found.
    """
    return read(path, environ).config


def read(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Like `load`, with the origin of each key.

    Raises:
        syncd.errors.ConfigurationError: with every mistake found.
    """
    sources = _Sources()
    _read_machine(environ, sources)
    file = find_file(path, environ)
    if file is not None:
        _read_file(file, sources)
    _read_environment(environ, sources)
    config = None
    try:
        config = model.Config.model_validate(sources.values)
    except ValidationError as error:
        sources.problems += [
            _sentence(detail, sources.origins, environ) for detail in error.errors()
        ]
    if config is None or sources.problems:
        raise errors.ConfigurationError(sources.problems)
    origins = {".".join(keys): origin for keys, origin in sources.origins.items()}
    return Loaded(config=config, file=file, origins=origins)


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one named by argument or environment, else the first that is there."""
    if path is not None:
        return path.expanduser()
    if named := environ.get(FILE_VARIABLE):
        return Path(named).expanduser()
    places = (Path("config.toml"), model.default_file(environ))
    return next((place for place in places if place.is_file()), None)


def _read_machine(environ: Mapping[str, str], sources: _Sources) -> None:
    """The defaults that depend on the user's environment."""
    sources.put(("engine", "state_dir"), str(model.default_state_dir(environ)), "default")
    sources.put(("oxen", "url"), model.default_store(environ), "default")
    if url := environ.get(SDK_URL_VARIABLE):
        sources.put(("wandb", "base_url"), url, SDK_URL_VARIABLE)


def _read_file(file: Path, sources: _Sources) -> None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        sources.problems.append(f"{file}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        sources.problems.append(f"{file}: is not UTF-8 text: {error.reason} at byte {error.start}")
    except tomllib.TOMLDecodeError as error:
        sources.problems.append(f"{file}: is not TOML: {error}")
    else:
        named = dict(named_tables())
        for keys, value in _leaves(document):
            if value != {} or keys[0] in named or section_at(keys) is None:
                sources.put(keys, value, str(file))


def _leaves(table: Mapping[str, Any], above: Keys = ()) -> Iterable[tuple[Keys, Any]]:
    """Every value of a nested table with its keys; an empty table is one, so that it is looked at."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _read_environment(environ: Mapping[str, str], sources: _Sources) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
        text = environ[name]
        try:
            sources.put(keys, _split(text) if _is_list(keys) else text, name)
        except json.JSONDecodeError as error:
            sources.problems.append(f"{'.'.join(keys)} (from {name}): is not a JSON list: {error}")


def _split(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        items: list[Any] = json.loads(text)
        return items
    return [part.strip() for part in text.split(",") if part.strip()]


def section_at(keys: Iterable[str]) -> type[BaseModel] | None:
    """The model of the table these keys lead to, or None when they lead nowhere."""
    found: type[BaseModel] = model.Config
    left = list(keys)
    while left:
        key = left.pop(0)
        annotation = found.model_fields[key].annotation if key in found.model_fields else None
        if get_origin(annotation) is dict and left:
            left.pop(0)  # a table of tables: any name leads to one of a kind
            annotation = get_args(annotation)[1]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        found = annotation
    return found


def named_tables() -> Iterator[tuple[str, type[BaseModel]]]:
    """The keys of the file that hold tables under names of the user's, with what each is."""
    for name, known in model.Config.model_fields.items():
        if get_origin(known.annotation) is dict:
            yield name, get_args(known.annotation)[1]


def _is_list(keys: Keys) -> bool:
    section = section_at(keys[:-1])
    known = section.model_fields.get(keys[-1]) if section else None
    return bool(known and Ellipsis in get_args(known.annotation))


def _sentence(detail: ErrorDetails, origins: Mapping[Keys, str], environ: Mapping[str, str]) -> str:
    """One mistake, beginning with its key path and naming the variable it came from."""
    keys = tuple(str(part) for part in detail["loc"])
    near = (origin for other, origin in origins.items() if _on_one_line(keys, other))
    origin = next(near, "")
    path = ".".join(keys) + (f" (from {origin})" if origin in environ else "")
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{_suggestion(keys)}"
    message = _MESSAGES.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    return f"{path}: {message[:1].lower()}{message[1:]}" if path else message


def _on_one_line(keys: Keys, other: Keys) -> bool:
    """Whether one of them is the other, a table around it, or an item in it."""
    shorter = min(len(keys), len(other))
    return keys[:shorter] == other[:shorter]


def _suggestion(keys: Keys) -> str:
    """The nearest key of the same table, else the same key in another table."""
    section = section_at(keys[:-1])
    siblings = difflib.get_close_matches(keys[-1], list(section.model_fields) if section else [])
    if siblings:
        return f"; did you mean {'.'.join((*keys[:-1], siblings[0]))}?"
    elsewhere = [
        f"{name}.{keys[-1]}"
        for name in model.Config.model_fields
        if keys[-1] in getattr(section_at((name,)), "model_fields", {})
    ]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else ""
