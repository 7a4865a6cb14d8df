"""The run that a script logs to, as far as pins and publications need it: the wandb client's own.

The only module that imports wandb, and only when a run is begun or recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from syncd.clients.artifacts import Version
from syncd.errors import PermanentError, UsageError
from syncd.manifest import Manifest
from syncd.refs import RunRef
from syncd.replacements import XXH128

if TYPE_CHECKING:
    import wandb


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version that is about to be logged.

    Args:
        collection: the collection's name, in the run's project.
        type: the artifact type.
        manifest: references, and nothing whose bytes W&B would have to take.
        algorithm: what the collection's digests are of, as `Version.digest_algorithm`.
        metadata: all of it.
        description: shown beside it.
        aliases: beside `latest`, which W&B gives to the newest.
        tags: its tags.
    """

    collection: str
    type: str
    manifest: Manifest
    algorithm: str
    metadata: Mapping[str, Any]
    description: str | None = None
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()


class Tracker(Protocol):
    """A run that goes on."""

    @property
    def ref(self) -> RunRef:
        """Its name."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def url(self) -> str:
        """Where people look at it; empty when it is nowhere."""
        ...

    @property
    def server(self) -> str:
        """The URL of W&B's API; empty when the run is logged to this disk alone."""
        ...

    @property
    def author(self) -> str:
        """Who logs to it, a W&B user name; empty when unknown."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config as it is now."""
        ...

    def configure(self, values: Mapping[str, Any]) -> None:
        """Set keys of its config, also such as have another value."""
        ...

    def use(self, version: Version) -> None:
        """Record that it uses a version."""
        ...

    def log(self, draft: Draft) -> str:
        """Log a version and wait until W&B has it; its GraphQL id.

        When the collection holds one with the same content already, that one's.
        """
        ...

    def say(self, text: str) -> None:
        """Tell whoever watches the script."""
        ...


class WandbRun:
    """A `Tracker` over a run of the wandb client.

    Args:
        run: what `wandb.init` gave.
    """

    def __init__(self, run: wandb.Run) -> None:
        self._run = run

    @property
    def ref(self) -> RunRef:
        """See `Tracker.ref`."""
        return RunRef(entity=self._run.entity, project=self._run.project, run_id=self._run.id)

    @property
    def name(self) -> str:
        """See `Tracker.name`."""
        return self._run.name or self._run.id

    @property
    def url(self) -> str:
        """See `Tracker.url`."""
        return (self._run.url or "") if self.server else ""

    @property
    def server(self) -> str:
        """See `Tracker.server`."""
        if self._run.offline or self._run.disabled:
            return ""
        return str(self._run.settings.base_url)

    @property
    def author(self) -> str:
        """See `Tracker.author`."""
        return self._run.settings.username or ""

    @property
    def config(self) -> Mapping[str, Any]:
        """See `Tracker.config`."""
        return {key: value for key, value in dict(self._run.config).items() if key != "_wandb"}

    def configure(self, values: Mapping[str, Any]) -> None:
        """See `Tracker.configure`."""
        update: Callable[..., None] = self._run.config.update  # ships no types
        update(dict(values), allow_val_change=True)

    def use(self, version: Version) -> None:
        """See `Tracker.use`.

        Raises:
            PermanentError: when W&B refuses.
        """
        with _translated(f"record that {self.ref} uses {version.ref}"):
            self._run.use_artifact(str(version.ref), type=version.type)

    def log(self, draft: Draft) -> str:
        """See `Tracker.log`.

        Raises:
            PermanentError: when W&B refuses it.
        """
        import wandb  # noqa: PLC0415
        from wandb.sdk.artifacts.artifact_manifest_entry import (  # noqa: PLC0415
            ArtifactManifestEntry,
        )
        from wandb.sdk.lib.paths import LogicalPath  # noqa: PLC0415

        with _translated(f"log {draft.collection} of {self.ref}"):
            artifact = wandb.Artifact(
                draft.collection,
                draft.type,
                description=draft.description,
                metadata=dict(draft.metadata),
                digest_algorithm="XXH128" if draft.algorithm == XXH128 else "MD5",
            )
            for entry in draft.manifest.entries.values():
                # `add_reference` would ask the server for each file; what it answers is known.
                artifact.manifest.add_entry(
                    ArtifactManifestEntry(
                        path=LogicalPath(entry.path),
                        digest=entry.digest,
                        ref=entry.ref,
                        size=entry.size,
                        extra=dict(entry.extra),
                    )
                )
            logged = self._run.log_artifact(
                artifact, aliases=list(draft.aliases), tags=list(draft.tags)
            ).wait()
            return str(logged.id)

    def say(self, text: str) -> None:
        """See `Tracker.say`."""
        import wandb  # noqa: PLC0415

        wandb.termlog(text)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The one place where the wandb client's failures become ours."""
    from wandb import Error  # noqa: PLC0415

    try:
        yield
    except (ValueError, TypeError, Error) as error:
        raise PermanentError(
            f"{what}: W&B refused: {error}",
            hint="What is in Oxen stays there. Correct the cause, then do the same again.",
        ) from error


def begin(project: str | None, config: Mapping[str, Any], options: Mapping[str, Any]) -> wandb.Run:
    """`wandb.init`.

    Raises:
        UsageError: when wandb gives no run.
    """
    import wandb  # noqa: PLC0415

    run = wandb.init(project=project, config=dict(config), **options)
    if run is None:
        raise UsageError("wandb.init gave no run")
    return run


def current() -> wandb.Run | None:
    """The run that goes on in this process."""
    import wandb  # noqa: PLC0415

    return wandb.run
