"""The time, as the API shows it."""

from datetime import UTC, datetime


def now_utc() -> datetime:
    """Now, to the millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
