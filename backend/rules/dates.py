"""Days as people say them: `tomorrow`, `friday`, `+3d`, `2026-12-24`."""

import re
from calendar import monthrange
from datetime import date, datetime, timedelta
from typing import Final

from backend.rules import days

_NEAR: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FROM_TODAY: Final = re.compile(r"([+-]?)(\d{1,5})([dwmy])", re.ASCII)
_MOMENT: Final = timedelta(microseconds=1)


def read(text: str, today: date) -> date | datetime:
    """A day, or an instant in UTC. Raises ValueError.

    `+3d` is `3d` too: in a URL, a plus that is not escaped is a space.
    """
    said = text.strip().lower()
    if said in _NEAR:
        return _later(today, _NEAR[said])
    for number, name in enumerate(_WEEKDAYS):
        if said in {name, name[:3]}:
            return _later(today, (number - today.weekday() - 1) % 7 + 1)
    if found := _FROM_TODAY.fullmatch(said):
        return _from_today(today, int(found[1] + found[2]), found[3])
    return days.day_or_instant(text.strip())


def bounds(when: date | datetime, zone: str) -> tuple[datetime, datetime | None]:
    """Its first instant, and the first that is after it; None when that is past the year 9999."""
    if not isinstance(when, datetime):
        return days.day_in(when, zone)
    try:
        return when, when + _MOMENT
    except OverflowError:
        return when, None


def _from_today(today: date, number: int, unit: str) -> date:
    if unit in "dw":
        return _later(today, number * (7 if unit == "w" else 1))
    months = today.year * 12 + today.month - 1 + number * (12 if unit == "y" else 1)
    year, month = months // 12, months % 12 + 1
    if not date.min.year <= year <= date.max.year:
        raise ValueError("that is not in the years 1 to 9999")
    return date(year, month, min(today.day, monthrange(year, month)[1]))


def _later(today: date, number: int) -> date:
    try:
        return today + timedelta(days=number)
    except OverflowError:
        raise ValueError("that is not in the years 1 to 9999") from None
