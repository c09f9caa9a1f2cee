"""Days in a time zone, and the instants that an RFC 3339 text names."""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def written(moment: datetime) -> str:
    """In the one form that the API has: UTC, six decimals."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def instant(text: str) -> datetime:
    """In UTC. Raises ValueError for what is not RFC 3339 with an offset, or finer than a microsecond."""
    if not _INSTANT.fullmatch(text):
        hint = " (in a query, + is written %2B)" if " " in text else ""
        raise ValueError(f"expected a time with an offset, like 2026-12-24T18:00:00Z{hint}")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("no such time in the years 1 to 9999 of UTC") from None


def day_or_instant(text: str) -> date | datetime:
    """Raises ValueError."""
    if ":" in text:
        return instant(text)
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        raise ValueError("no such day") from None
    raise ValueError("expected a day, like 2026-12-24, or a time with an offset, like 2026-12-24T18:00:00Z")


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Raises ValueError for what is not in the IANA time zone database: a path and `right/UTC` are files there too."""
    if name not in _zones():
        raise ValueError("not an IANA time zone, like Europe/Berlin")
    return ZoneInfo(name)


@cache
def _zones() -> set[str]:
    return available_timezones()


def day_in(day: date, zone_name: str) -> tuple[datetime, datetime | None]:
    """The first instant of a day there and that of the next, in UTC; None when that is past the year 9999."""
    there = zone(zone_name)
    first = _midnight(day, there)
    if day < date.max:
        return first, _midnight(day + timedelta(days=1), there)
    try:
        return first, first + timedelta(days=1)
    except OverflowError:
        return first, None


def _midnight(day: date, there: ZoneInfo) -> datetime:
    try:
        return datetime.combine(day, time(), there).astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if day.year == 1 else datetime.max.replace(tzinfo=UTC)
