"""Texts in the configuration that must be of a kind: addresses, names, templates, patterns, files.

What is of another kind is refused with a sentence that shows the right spelling.
"""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from syncd import errors, naming, refs

TEMPLATE_FIELDS = frozenset({"entity", "project", "collection", "type"})
BRANCH_FIELDS = TEMPLATE_FIELDS | {"version"}
_PORTS = range(65_536)


def _web_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return _plain_url(text)


def _plain_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password; secrets have keys of their own")
    if parts.query or parts.fragment:
        raise ValueError("must not hold ? or #")
    _ = parts.port  # raises ValueError for a port that is none
    return text.rstrip("/")


def _store_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
            raise ValueError("a file URL names an absolute folder: file:///var/lib/syncd/oxen")
        return _plain_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be https://host, http://host:port or file:///absolute/folder")
    return _plain_url(text)


def _database_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "sqlite":
        if parts.netloc or len(parts.path) < len("/x"):
            raise ValueError("an SQLite URL has three slashes and a file: sqlite:////absolute/file")
        return text
    if parts.scheme.partition("+")[0] not in {"postgresql", "postgres"} or not parts.path.strip(
        "/"
    ):
        raise ValueError("must be sqlite:///file or postgresql://host/database")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("a password's special characters are percent-encoded: / is %2F, @ is %40")
    if any(name.lower() == "password" for name, _ in parse_qsl(parts.query)):
        raise ValueError(
            "a password stands before the host, postgresql://user:password@host/database"
        )
    return text


def _bind(text: str) -> str:
    split_bind(text)
    return text


def split_bind(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8337` or `[::1]:8337`.

    Raises:
        ValueError: when the text is not host:port.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError('must be host:port, for example "127.0.0.1:8337" or "[::1]:8337"')
    if int(port) not in _PORTS:
        raise ValueError("a port is at most 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError('an IPv6 address stands in brackets: "[::1]:8337"')
    return host, int(port)


def _template(text: str, fields: frozenset[str] = TEMPLATE_FIELDS) -> str:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"is not a template: {error}") from error
    allowed = ", ".join(f"{{{name}}}" for name in sorted(fields))
    for _, name, spec, conversion in parts:
        if name is not None and (name not in fields or spec or conversion):
            raise ValueError(f"{{{name}}} is not a field; the fields are {allowed}")
    return text


def fields_of(template: str) -> set[str]:
    """The fields that a template has."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _repo_template(text: str) -> str:
    literal = "".join(part for part, *_ in string.Formatter().parse(_template(text)))
    if not text or not re.fullmatch(r"[A-Za-z0-9._-]*", literal):
        raise ValueError("a repository name holds letters, digits, dot, dash and underscore")
    return text


def _path_template(text: str) -> str:
    if text:
        try:
            refs.check_path(_template(text))
        except errors.InvalidNameError as error:
            raise ValueError(str(error)) from error
    return text


def _target(text: str) -> str:
    try:
        target = refs.Target.parse(text)
    except errors.UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from error
    if target.collection:
        raise ValueError(f"{text!r} names a collection; write entity/project or entity/*")
    return text


def _glob(text: str) -> str:
    if not text.strip():
        raise ValueError("a pattern must not be empty")
    if text.startswith("/"):
        raise ValueError(f"pattern {text!r} begins with /; names and paths here never do")
    return text


def _branch(text: str) -> str:
    if any(naming.alias_branch(part, main="") != part for part in text.split("/")):
        raise ValueError(f"{text!r} is not a branch name that Oxen accepts")
    if text.split("/", maxsplit=1)[0] == "wandb":
        raise ValueError(f"{text!r} lies where the branches of versions are (wandb/v3)")
    return text


def _branch_template(text: str) -> str:
    if "{" not in text:
        return _branch(text)
    _template(text, BRANCH_FIELDS)
    if "{version}" not in text:
        raise ValueError("a branch with fields needs {version}: each version has one of its own")
    if "{" in text.split("/", maxsplit=1)[0]:
        raise ValueError("a branch with fields begins with a plain folder: candidate/{version}")
    if "wandb" in text.split("/"):
        raise ValueError(f"{text!r} lies where the branches of versions are (wandb/v3)")
    _branch(re.sub(r"\{\w+\}", "x", text))
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise ValueError("a name holds letters, digits, dot, dash and underscore")
    return text


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _readable_secret(path: Path) -> Path:
    path = _absolute(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file") from error
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return path


WebURL = Annotated[str, AfterValidator(_web_url)]
StoreURL = Annotated[str, AfterValidator(_store_url)]
DatabaseURL = Annotated[str, AfterValidator(_database_url)]
Bind = Annotated[str, AfterValidator(_bind)]
RepoTemplate = Annotated[str, AfterValidator(_repo_template)]
PathTemplate = Annotated[str, AfterValidator(_path_template)]
ProjectTarget = Annotated[str, AfterValidator(_target)]
Glob = Annotated[str, AfterValidator(_glob)]
BranchName = Annotated[str, AfterValidator(_branch)]
BranchTemplate = Annotated[str, AfterValidator(_branch_template)]
Name = Annotated[str, AfterValidator(_name)]
Folder = Annotated[Path, AfterValidator(_absolute)]
SecretFile = Annotated[Path, AfterValidator(_readable_secret)]
