"""The configuration's one definition: every section and key, with type, default and description.

Validation, the commented sample, the reference table and `syncd config show` are all made from these
models. A default that depends on another section's keys is filled in at the end of `Config`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from syncd import log
from syncd.config import texts, units
from syncd.config.hooks import Endpoint, Trigger
from syncd.config.section import Section, key

DEFAULT_WANDB_URL = "https://api.wandb.ai"
DEFAULT_BIND = "127.0.0.1:8337"
DEFAULT_MIN_FILE_SIZE = 1 * units.MIB  # bytes
DEFAULT_SPOOL_LIMIT = 10 * units.GIB  # bytes
DEFAULT_GRACE = timedelta(days=14)
DEFAULT_PINNED = timedelta(days=30)
DEFAULT_POLL = timedelta(minutes=5)
DEFAULT_VERIFY = timedelta(days=7)
DEFAULT_SWEEP = timedelta(days=1)
DEFAULT_BACKUP = timedelta(days=1)
DEFAULT_BACKUPS = 3  # copies
DEFAULT_DRAIN = timedelta(seconds=30)
DEFAULT_MIN_FREE = 512 * units.MIB  # bytes
DEFAULT_MAX_PER_DAY = 1000  # versions
DEFAULT_CONCURRENCY = 8  # files
RENDERED_BY_WANDB = ("*.table.json", "media/**")
MANAGED_BY_WANDB = ("wandb-*", "run_table", "job", "code")


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where the rebuildable state lives: `$XDG_STATE_HOME/syncd`."""
    return _home(environ, "XDG_STATE_HOME", ".local/state") / "syncd"


def default_store(environ: Mapping[str, str]) -> str:
    """The embedded Oxen store, apart from the state: deleting the state must not delete data."""
    return (_home(environ, "XDG_DATA_HOME", ".local/share") / "syncd" / "oxen").as_uri()


def default_file(environ: Mapping[str, str]) -> Path:
    """The configuration file of this user: `$XDG_CONFIG_HOME/syncd/config.toml`."""
    return _home(environ, "XDG_CONFIG_HOME", ".config") / "syncd" / "config.toml"


def _home(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    named = environ.get(variable, "")
    if named.startswith("/"):  # the XDG specification tells readers to ignore a relative one
        return Path(named)
    return home(environ) / fallback


def home(environ: Mapping[str, str]) -> Path:
    """The user's folder; `/` for a user without one, as login(1) has it, where nothing can be written."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:  # this user is in no list of users
        return Path("/")


class Wandb(Section):
    """The W&B server whose artifacts move."""

    base_url: texts.WebURL = key(
        "The W&B server; the address its API is called at.",
        DEFAULT_WANDB_URL,
        example="https://wandb.example.com",
        derived="WANDB_BASE_URL, else https://api.wandb.ai",
    )
    api_key_file: texts.SecretFile | None = key(
        "A file that holds the API key. Without it: WANDB_API_KEY, the systemd credential "
        "wandb_api_key, ~/.netrc.",
        example="/etc/syncd/wandb-api-key",
    )
    projects: tuple[texts.ProjectTarget, ...] = key(
        "What to move when a command names no target: entity/project, or entity/* for all of an "
        "entity's projects.",
        (),
        example=["vision/detector", "research/*"],
    )


class Oxen(Section):
    """Where the bytes go."""

    url: texts.StoreURL = key(
        "An Oxen server, or file:///folder for repositories kept in a folder of this machine.",
        lambda: default_store(os.environ),
        example="https://hub.oxen.ai",
        derived="file://$XDG_DATA_HOME/syncd/oxen",
    )
    token_file: texts.SecretFile | None = key(
        "A file that holds the server's token. Without it: OXEN_TOKEN, the systemd credential "
        "oxen_token. A folder needs none. A gateway reads with it, and shows it to nobody.",
        example="/etc/syncd/oxen-token",
    )
    namespace: str | None = key(
        "The namespace that holds the repositories.",
        example="acme-ml",
        derived="the W&B entity",
        pattern=r"^[A-Za-z0-9._-]+$",
    )
    repo: texts.RepoTemplate = key(
        "The repository of a collection; {entity}, {project}, {collection} and {type} are filled "
        "in. Two collections in one repository need a path that tells them apart.",
        "{project}-{collection}",
        example="{project}",
    )
    path: texts.PathTemplate = key(
        "A folder in the repository to put each version in; the same fields as in repo.",
        "",
        example="{collection}",
    )
    branch: texts.BranchTemplate = key(
        "The branch that versions are committed to, in order. With {version}, and the fields of "
        "repo, each version gets a branch of its own beside main, which begins with the first one and "
        "moves by `syncd merge` alone.",
        "main",
        example="candidate/{version}",
    )
    main: texts.BranchName = key(
        "The branch that versions stand on and are merged into, where branch has fields.",
        "main",
        example="trunk",
    )

    @field_validator("branch")
    @classmethod
    def _tells_apart(cls, branch: str, others: ValidationInfo) -> str:
        """Collections that share a repository must not share branches."""
        for field in sorted(texts.fields_of(others.data.get("path", ""))):
            if "{" in branch and field not in texts.fields_of(branch):
                raise ValueError(f"needs {{{field}}}, by which path tells versions apart")
        return branch

    @property
    def has_candidates(self) -> bool:
        """Whether each version has a branch of its own, and the main one moves by merges."""
        return "{" in self.branch

    @property
    def main_branch(self) -> str:
        """The branch that shows what counts."""
        return self.main if self.has_candidates else self.branch

    @property
    def directory(self) -> Path | None:
        """The folder of the embedded store, or None when a server is used."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


class Include(Section):
    """What moves: a version must match each list that is not empty."""

    types: tuple[texts.Glob, ...] = key("Artifact types.", (), example=["dataset", "model"])
    collections: tuple[texts.Glob, ...] = key("Collection names.", (), example=["train-*"])
    aliases: tuple[texts.Glob, ...] = key("Aliases.", (), example=["production"])
    tags: tuple[texts.Glob, ...] = key("Tags.", (), example=["keep-forever"])


class Exclude(Section):
    """What stays: a version that matches any pattern here is left alone."""

    types: tuple[texts.Glob, ...] = key(
        "Artifact types; the default is what W&B itself makes and reads.",
        MANAGED_BY_WANDB,
        example=[*MANAGED_BY_WANDB, "report"],
    )
    collections: tuple[texts.Glob, ...] = key("Collection names.", (), example=["tmp-*"])
    aliases: tuple[texts.Glob, ...] = key("Aliases.", (), example=["debug"])
    tags: tuple[texts.Glob, ...] = key("Tags.", (), example=["scratch"])


class Select(Section):
    """Which versions move, and which of their files. Patterns are globs."""

    include: Include = Field(default_factory=Include)
    exclude: Exclude = Field(default_factory=Exclude)
    min_file_size: units.Size = key(
        "Smaller files stay in W&B.", DEFAULT_MIN_FILE_SIZE, example="10MiB"
    )
    keep: tuple[texts.Glob, ...] = key(
        "Files that stay in W&B whatever their size: what its pages render.",
        RENDERED_BY_WANDB,
        example=[*RENDERED_BY_WANDB, "*.html"],
    )


class References(Section):
    """The links that W&B keeps in place of the bytes."""

    base_url: texts.WebURL = key(
        "The address that training machines fetch moved files from. It is written into every "
        "replacement version: name one that lasts. A server that wants a token needs a gateway "
        "(`syncd gateway`) here: a wandb client sends no Oxen token.",
        f"http://{DEFAULT_BIND}",
        example="https://data.example.com",
        derived="the Oxen server; for a folder web.public_url, else http:// and web.bind",
    )


class Reclaim(Section):
    """Freeing W&B storage after the proof. Off until you say otherwise."""

    policy: Literal["none", "ttl", "delete"] = key(
        "What happens to a version whose replacement is proven: nothing, W&B removes it after the "
        "grace period (ttl), or syncd does (delete).",
        "none",
        example="ttl",
    )
    grace: units.Duration = key("How long a replaced version stays.", DEFAULT_GRACE, example="30d")
    pinned: units.Duration = key(
        "How long a run that used the replaced version itself, by its number, protects it.",
        DEFAULT_PINNED,
        example="90d",
    )
    max_per_day: int = key(
        "The most versions removed in a day.", DEFAULT_MAX_PER_DAY, example=100, ge=0
    )


class Schedule(Section):
    """What `syncd run` does on its own."""

    poll: units.PositiveDuration = key(
        "Time between two looks for new versions.", DEFAULT_POLL, example="1m"
    )
    verify: units.PositiveDuration = key(
        "Time in which everything moved is read again and compared once.",
        DEFAULT_VERIFY,
        example="30d",
    )
    reclaim: units.PositiveDuration = key(
        "Time between two sweeps that free W&B storage, where [reclaim] policy allows any.",
        DEFAULT_SWEEP,
        example="6h",
    )
    backup: units.PositiveDuration = key(
        "Time between two copies of the catalog, kept in the folder backups of engine.state_dir. "
        "PostgreSQL is left to its own tools.",
        DEFAULT_BACKUP,
        example="6h",
    )


class Transfer(Section):
    """How bytes travel."""

    concurrency: int = key(
        "Files in flight at a time; of those up to 1 MiB four times as many.",
        DEFAULT_CONCURRENCY,
        example=16,
        ge=1,
        le=256,
    )
    bandwidth_limit: units.BandwidthLimit | None = key(
        'The most bytes a second over all transfers, or a timetable in local time: "08:00,10MiB '
        '18:00,off", a day of its own as "Sat-00:00,off". Without it there is no limit.',
        example="50MiB",
    )
    spool_dir: texts.Folder = key(
        "A folder for files on their way to a server.",
        lambda: default_state_dir(os.environ) / "spool",
        example="/var/spool/syncd",
        derived="the folder spool in engine.state_dir",
    )
    spool_limit: units.Size = key(
        "The most bytes that wait there at a time.", DEFAULT_SPOOL_LIMIT, example="100GiB"
    )


class Engine(Section):
    """Where progress is kept. All of it can be rebuilt from W&B and Oxen."""

    state_dir: texts.Folder = key(
        "The folder for state and caches.",
        lambda: default_state_dir(os.environ),
        example="/var/lib/syncd",
        derived="$XDG_STATE_HOME/syncd",
    )
    database: texts.DatabaseURL = key(
        "Workflows and catalog. One machine needs no server; several share a PostgreSQL. Keep its "
        "password in ~/.pgpass.",
        lambda data: f"sqlite:///{data.get('state_dir', default_state_dir(os.environ))}/syncd.db",
        example="postgresql://syncd@db.example.com/syncd",
        derived="sqlite, the file syncd.db in engine.state_dir",
        repr=False,
    )
    backups: int = key(
        "How many copies of the catalog are kept.", DEFAULT_BACKUPS, example=14, ge=1
    )
    drain: units.Duration = key(
        "How long `syncd run` waits, when it is told to stop, for stages that run. What is cut off "
        "goes on at the next start.",
        DEFAULT_DRAIN,
        example="5m",
    )
    min_free: units.Size = key(
        "Room on the disks of the state, the spool and the folder of repositories, below which "
        "`syncd run` begins nothing new.",
        DEFAULT_MIN_FREE,
        example="10GiB",
    )
    traces: texts.WebURL | None = key(
        "Where an OpenTelemetry collector takes traces over HTTP: each version's way is one, with a "
        "span for every stage.",
        example="http://localhost:4318/v1/traces",
    )


class Web(Section):
    """The gateway, the webhook receiver and the dashboard."""

    bind: texts.Bind = key("The address to listen on.", DEFAULT_BIND, example="0.0.0.0:8337")
    public_url: texts.WebURL | None = key(
        "The address others reach it at, where a proxy stands in front.",
        example="https://syncd.example.com",
    )
    webhook_secret_file: texts.SecretFile | None = key(
        "A file that holds the secret W&B signs webhooks with. Without it: SYNCD_WEBHOOK_SECRET, "
        "the systemd credential webhook_secret; with none, webhooks are refused.",
        example="/etc/syncd/webhook-secret",
    )
    read_token_file: texts.SecretFile | None = key(
        "A file with the tokens that may read moved files and see the dashboard, one on a line. "
        "Without it: "
        "SYNCD_READ_TOKENS, the systemd credential read_token; with none, everyone who reaches the "
        "address may read files, and the dashboard is for this machine alone. A gateway with an Oxen token does not start without.",
        example="/etc/syncd/read-tokens",
    )
    operator_token_file: texts.SecretFile | None = key(
        "A file with the tokens that may read and see all that, and may also have failed versions "
        "tried again in the dashboard. Without it: SYNCD_OPERATOR_TOKENS, the systemd credential "
        "operator_token; with none, every read token may.",
        example="/etc/syncd/operator-tokens",
    )
    dashboard: bool = key("Whether the pages for people are served.", True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return texts.split_bind(self.bind)


class Log(Section):
    """What is told on standard error."""

    level: log.Level = key("The least severe event that is told.", "info", example="debug")
    format: log.Format = key(
        "Lines for people (console) or for machines (json); auto looks whether a terminal reads.",
        "auto",
        example="json",
    )


class Config(Section):
    """Everything syncd can be told. Secrets are never part of it; see `syncd.config.credentials`."""

    wandb: Wandb = Field(default_factory=Wandb)
    oxen: Oxen = Field(default_factory=Oxen)
    select: Select = Field(default_factory=Select)
    references: References = Field(default_factory=References)
    reclaim: Reclaim = Field(default_factory=Reclaim)
    schedule: Schedule = Field(default_factory=Schedule)
    transfer: Transfer = Field(default_factory=Transfer)
    engine: Engine = Field(default_factory=Engine)
    web: Web = Field(default_factory=Web)
    log: Log = Field(default_factory=Log)
    endpoints: dict[texts.Name, Endpoint] = Field(default_factory=dict)
    triggers: dict[texts.Name, Trigger] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _derive(self) -> Config:
        """Fill in the defaults that depend on other sections."""
        if "base_url" not in self.references.model_fields_set:
            base_url = self.oxen.url if self.oxen.directory is None else self.gateway_url
            if urlsplit(base_url).hostname in {"0.0.0.0", "::"}:  # noqa: S104 compared, not bound
                raise ValueError(
                    "references.base_url: has to be named where web.bind is every address of this "
                    "machine, or web.public_url: references say where files are read from"
                )
            self._replace("references", base_url=base_url)
        if "spool_dir" not in self.transfer.model_fields_set:
            self._replace("transfer", spool_dir=self.engine.state_dir / "spool")
        return self

    def _replace(self, section: str, **values: object) -> None:
        # Only while validation runs: from outside, pydantic refuses to change a frozen model.
        object.__setattr__(self, section, getattr(self, section).model_copy(update=values))

    @property
    def gateway_url(self) -> str:
        """The address the gateway is reached at."""
        return self.web.public_url or f"http://{self.web.bind}"
