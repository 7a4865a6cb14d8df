"""Every failure syncd knows, as values that say whether to try again and what to do next.

`TransientError` means the same call may succeed later: the retry layer repeats it. `PermanentError`
means it will not, until somebody changes something: the version goes to quarantine. Both carry an
operator hint: the next step, in one sentence. Each client translates its library's exceptions into
these at exactly one place.
"""

from __future__ import annotations


class SyncdError(Exception):
    """A failure with a cause a person can read and a hint at the next step.

    Args:
        message: what failed, naming the thing and the cause.
        hint: what the operator should do next; falls back to the class's own.
    """

    default_hint = "Run the command again with --log-level debug and read the cause."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint or self.default_hint


class TransientError(SyncdError):
    """The same call may succeed later.

    Args:
        message: what failed, naming the thing and the cause.
        hint: what the operator should do next.
        retry_after: seconds the service asked us to wait (`Retry-After`), or None.
    """

    default_hint = "Nothing is lost. Run the same command again later; it goes on where it stopped."

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class PermanentError(SyncdError):
    """The call will fail again until somebody changes something."""


class ServiceUnavailableError(TransientError):
    """W&B or Oxen did not answer, or answered 429 or 5xx.

    Args:
        message: what failed, naming the thing and the cause.
        hint: what the operator should do next.
        retry_after: seconds the service asked us to wait (`Retry-After`), or None.
        service: scheme, host and port of the server that is away; empty where it is none.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        service: str = "",
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.service = service


class StateUnavailableError(ServiceUnavailableError):
    """The database of the catalog does not answer, or refuses to write. No version's own fault."""


class IntegrityError(TransientError):
    """Bytes that arrived are not the bytes that were promised (size or hash).

    Transient, because a damaged transfer is usually whole the next time; when it stays, retries
    run out and the version is quarantined with this cause.
    """

    default_hint = (
        "The bytes W&B sends do not match the artifact's manifest. Download the file with the wandb "
        "client and compare; if it fails there too, the stored object is damaged: log it again."
    )


class SizeMismatchError(IntegrityError):
    """A file has another size than W&B's manifest says; its bytes may be as they were logged."""

    default_hint = (
        "The size in W&B's manifest is wrong, or W&B holds another file than was logged. Download it "
        "with the wandb client and count its bytes. Where the manifest is wrong, delete this version and "
        "log its files again: W&B gives the same version back for the same contents as long as it is "
        "there. Then `syncd quarantine retry`."
    )

    @classmethod
    def of(cls, what: str, promised: int, came: int | str) -> SizeMismatchError:
        """The error in its words.

        Args:
            what: the file.
            promised: bytes, as the manifest says.
            came: bytes, as W&B sends them.
        """
        return cls(f"{what}: W&B's manifest says {promised} bytes, and W&B sends {came}")


class DiskFullError(TransientError):
    """A disk of this machine has no room left."""

    default_hint = "Make room on the disk; nothing is lost, and the same command then goes on."


class StoreLockedError(TransientError):
    """Another process has the Oxen repository open."""

    default_hint = "Stop the other syncd or oxen process that uses this repository, then run again."


class AuthenticationError(PermanentError):
    """A key or token is missing or refused."""


class NotFoundError(PermanentError):
    """A project, version, commit or file that was named does not exist."""

    default_hint = "Check the spelling, and that the API key may read it."


class InvalidNameError(PermanentError):
    """A name, path or URL that cannot be used safely."""


class ManifestError(PermanentError):
    """A manifest that cannot be read or contradicts itself."""

    default_hint = "Open the version in W&B; a manifest that cannot be read there cannot be moved."


class VerificationError(PermanentError):
    """What was read back from Oxen is not what went in."""

    default_hint = (
        "Nothing was changed in W&B. Check the disk under the Oxen repository, then run the same "
        "command again: the version is transferred anew."
    )


class RepositoryConflictError(PermanentError):
    """An Oxen repository already holds something else under the same name."""

    default_hint = (
        "Two collections map to one repository. Give [oxen] repo a template that tells them apart, "
        'for example "{entity}-{project}-{collection}".'
    )


class MergeConflictError(PermanentError):
    """Two lines of an Oxen repository changed the same files to different contents."""

    default_hint = (
        "Log a version that has both changes, or take the merged one's files with --theirs."
    )


class SuspiciousListingError(PermanentError):
    """W&B lists far less than is known to be there; nobody may remove anything on that ground."""

    default_hint = (
        "Nothing was removed. Look in W&B whether the versions are there. If they were deleted on "
        "purpose, `syncd catalog rebuild` makes the local state forget them."
    )


class ClockError(PermanentError):
    """This machine's clock and W&B's tell different times; nobody may remove anything meanwhile."""

    default_hint = (
        "Nothing was removed. Set this machine's clock (`timedatectl` tells whether it is "
        "synchronized), then run the same command again."
    )


class ConfigurationError(SyncdError):
    """The configuration is wrong; `problems` lists every mistake with its key path.

    Args:
        problems: one sentence per mistake, each beginning with its key path.
    """

    default_hint = "Correct the keys named above; `syncd config example` prints a commented sample."

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(SyncdError):
    """A command was called with arguments that make no sense."""

    default_hint = "See --help."
