"""A rehearsal from its beginning to its end: the ground is looked at, played on, and left clean."""

from __future__ import annotations

import os
import secrets
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syncd import log, runtime
from syncd.clients.payload import Payload
from syncd.clients.wandb_scratch import WandbScratch
from syncd.config import Config, gateway_tokens, wandb_api_key
from syncd.errors import SyncdError, UsageError
from syncd.refs import Target
from syncd.rehearsal.assumptions import ASSUMPTIONS, Assumption
from syncd.rehearsal.checks import CHECKS
from syncd.rehearsal.findings import Finding, Outcome, fails, holds, unknown
from syncd.rehearsal.grounds import Cleaner, check, new_mark, rehearsed
from syncd.rehearsal.plain import PlainClient
from syncd.rehearsal.probes import PROBES
from syncd.rehearsal.story import Stage, Story, play

SERVED = "references-are-served"
Json = dict[str, Any]
Tell = Callable[[str], None]
# Serves a folder of repositories to those who have one of the tokens; its URL.
Gateway = Callable[[Path, frozenset[str]], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How references are read.

    Args:
        base_url: what they begin with.
        token: lets one read; empty where everybody may.
        finding: whether the configured address answers.
    """

    base_url: str
    token: str
    finding: Finding

    @property
    def netrc(self) -> str:
        """What makes a plain client send the token."""
        if not self.token:
            return ""
        return f"machine {urlsplit(self.base_url).hostname} login token password {self.token}\n"

    @property
    def headers(self) -> dict[str, str]:
        """What makes us send it."""
        if not self.token:
            return {}
        return {"Authorization": f"Basic {b64encode(f'token:{self.token}'.encode()).decode()}"}


def rehearse(
    config: Config,
    project: Target,
    *,
    gateway: Gateway,
    environ: Mapping[str, str] = os.environ,
    tell: Tell = lambda _line: None,
) -> Json:
    """Play a tiny migration against the configured servers, and say what is true of them.

    Args:
        config: the user's configuration.
        project: an empty project of W&B, or one that does not exist.
        gateway: serves the Oxen repositories when nobody does.
        environ: the environment variables.
        tell: prints one line for people.

    Returns:
        The answer of `syncd rehearse --json`.

    Raises:
        UsageError: when the project holds anything that no rehearsal made.
        ServiceUnavailableError: when a server cannot be reached.
    """
    if project.project is None or project.collection is not None:
        raise UsageError(f"{project} is not a project", hint="Write entity/scratch.")
    with (
        tempfile.TemporaryDirectory(prefix="syncd-rehearsal-") as temporary,
        _access(config, environ, gateway) as access,
    ):
        folder = Path(temporary)
        own = rehearsed(config, project, folder, access.base_url)
        mark = new_mark()
        scratched = partial(WandbScratch, within=project, mark=mark)
        with runtime.opened(own, environ, source=scratched) as parts:
            assert isinstance(parts.source, WandbScratch), "it was made so"
            there = check(parts.source, project)
            cleaner = Cleaner(parts.source, own, environ)
            cleaner.clean()
            key = wandb_api_key(config, environ).get_secret_value()
            stage = Stage(
                parts=parts,
                scratch=parts.source,
                project=project,
                mark=mark,
                plain=PlainClient(
                    folder=folder,
                    base_url=config.wandb.base_url,
                    api_key=key,
                    netrc=access.netrc,
                ),
                reading=access.headers,
            )
            try:
                story = play(stage, tell)
                tell("questions ...")
                findings = {item.id: _find(item, stage, story, access) for item in ASSUMPTIONS}
            except BaseException:
                for item in cleaner.clean():
                    tell(f"left behind: {log.clean(item)}")
                raise
            tell("cleaning up ...")
            left = cleaner.clean()
    if not there:
        left.append(f"the project {project}, empty: W&B's API cannot delete projects for us")
    return {
        "project": str(project),
        "assumptions": [_told(item, findings[item.id]) for item in ASSUMPTIONS],
        "left_behind": [log.clean(item) for item in left],
    }


def is_safe(document: Json) -> bool:
    """Whether nothing that data depends on was seen not to hold."""
    return not any(
        item["vital"] and item["outcome"] == Outcome.FAILS for item in document["assumptions"]
    )


def _find(item: Assumption, stage: Stage, story: Story, access: Access) -> Finding:
    try:
        if item.id == SERVED:
            return access.finding
        if item.id in CHECKS:
            return CHECKS[item.id](stage, story)
        return PROBES[item.id](stage)
    except SyncdError as error:
        return unknown(str(error))
    except Exception as error:  # noqa: BLE001 one question must not keep the others from being asked
        return unknown(f"{type(error).__name__}: {error}")


def _told(item: Assumption, finding: Finding) -> Json:
    return {
        "id": item.id,
        "statement": item.statement,
        "source": item.source,
        "outcome": str(finding.outcome),
        "seen": log.clean(finding.seen),
        "consequence": item.consequence,
        "vital": item.vital,
    }


@contextmanager
def _access(config: Config, environ: Mapping[str, str], gateway: Gateway) -> Iterator[Access]:
    """The configured address of references; one of our own, where a folder is not served there."""
    url = config.references.base_url
    directory = config.oxen.directory
    tokens = [token.get_secret_value() for token in gateway_tokens(config, environ)]
    gated = directory is not None or url.rstrip("/") != config.oxen.url.rstrip("/")
    token = tokens[0] if tokens and gated else ""  # a bare Oxen server knows none of ours
    said = _answer(url)
    if not said:
        yield Access(base_url=url, token=token, finding=holds(f"{url} answers"))
    elif directory is None:
        yield Access(base_url=url, token=token, finding=fails(said))
    else:
        token = secrets.token_hex(16)
        log.redact(token)
        with gateway(directory, frozenset({token})) as own:
            yield Access(base_url=own, token=token, finding=fails(said))


def _answer(url: str) -> str:
    """Why nobody serves references at this address; empty when somebody does."""
    try:
        with (
            closing(Payload()) as http,
            http.request("GET", f"{url}/healthz", what="look for the gateway") as answer,
        ):
            del answer  # whatever it is: a server is there
    except SyncdError as error:
        return str(error)
    return ""
