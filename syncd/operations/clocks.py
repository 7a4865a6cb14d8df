"""Whether this machine's clock may be trusted with what cannot be taken back.

A clock that is set far forward lets every grace period pass at once, and one that is far behind lets
a day's limit be forgotten. W&B says in each answer what time it is; where that is another, or where
it says nothing, nobody knows which of both is right, and nothing is removed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from syncd.errors import ClockError

FURTHEST = timedelta(minutes=5)  # apart; seconds are usual, and a grace period lasts days


class TimeSource(Protocol):
    """Who tells the time: W&B."""

    def told_time(self, entity: str) -> datetime | None:
        """See `clients.wandb.WandbSource.told_time`."""
        ...


def check_clock(source: TimeSource, entity: str) -> None:
    """Compare this machine's clock with W&B's, for one request.

    Args:
        source: W&B.
        entity: whom the request asks about.

    Raises:
        ClockError: when they are further apart than `FURTHEST`, or W&B does not tell the time.
        ServiceUnavailableError: while W&B is away.
    """
    before = datetime.now(UTC)
    told = source.told_time(entity)
    after = datetime.now(UTC)
    if told is None:
        raise ClockError(
            "W&B's answer does not say what time it is, and this machine's clock alone is not "
            "trusted with a removal",
            hint="Let the proxy between syncd and W&B pass the `Date` header, then run again.",
        )
    # It was told at some moment between the two.
    if before - told > FURTHEST or told - after > FURTHEST:
        raise ClockError(
            f"this machine's clock says {_text(after)}, W&B says {_text(told)}; nothing is removed "
            f"while they are more than {FURTHEST // timedelta(minutes=1)} minutes apart"
        )


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")
