"""Between what a form asks for and the whole numbers that are stored."""

from __future__ import annotations

from decimal import Decimal


def scaled(value: float, factor: int) -> int:
    """Turn what a person typed into integer units, exactly as it reads."""
    return int((Decimal(str(value)) * factor).to_integral_value())


def minute_of(time: str) -> int:
    """Return the minute of the day that a time selector gave."""
    hour, minute = time.split(":")[:2]
    return int(hour) * 60 + int(minute)


def time_of(minute: int) -> str:
    """Return a minute of the day as a time selector shows it."""
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}:00"
