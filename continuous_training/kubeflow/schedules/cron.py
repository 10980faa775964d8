"""Cron expressions: five or six fields in any time zone, converted to six fields in UTC for the server.

Five fields are those of Unix cron: minute, hour, day of month, month, weekday. Six fields begin with the
second, as in the server. The conversion is necessary because the server reads the first of five fields as
seconds, and rejects time zones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.schedules.cron_fields import FIELDS, FieldValue, parse_field

_COMPARED_TIMES = 40
"""Number of times for which a converted expression is compared with the original."""

_MINUTES_PER_DAY = 24 * 60

_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Cron:
    """A cron expression with six fields, and its time zone."""

    text: str
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Cron:
        """Return the expression with six fields, which the server interprets as Unix cron interprets `text`.

        Raises UserError for an invalid expression or zone, and for an expression whose interpretation differs
        between cron programs.
        """
        fields = _MACROS.get(text.strip(), text).split()
        if len(fields) not in (5, 6):
            raise UserError(
                f"cron {text!r} is not valid: use five fields (minute hour day month weekday) or six (second "
                "first), for example '30 2 * * *' for 02:30 every day"
            )
        try:
            values = _parse_fields(fields)
            _check_days(values)
        except UserError as error:
            raise UserError(f"cron {text!r}: {error}") from None
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UserError(
                f"the time zone {zone!r} does not exist: use a name such as Europe/Berlin"
            ) from None
        return cls(" ".join(value.text for value in values), zone)

    def times(self, start: datetime, end: datetime | None = None) -> Iterator[datetime]:
        """Yield the times (UTC) after `start` and before `end`."""
        try:
            iterator = self._iterate(start.astimezone(ZoneInfo(self.zone)))
            while True:
                time = iterator.get_next(datetime)
                if end is not None and time >= end:
                    return
                yield time.astimezone(UTC)
        except CroniterError:
            raise UserError(f"cron {self.text!r} matches no date") from None

    def _iterate(self, start: datetime) -> croniter:
        """Return an iterator over the times after `start`, in its zone, as the server calculates them."""
        values = _parse_fields(self.text.split())
        texts = [
            "*" if len(value.numbers) == field.size else ",".join(map(str, value.numbers))
            for field, value in zip(FIELDS, values, strict=True)
        ]
        either_day = not (values[3].has_star or values[5].has_star)
        if either_day and "*" in (texts[3], texts[5]):
            texts[3] = texts[5] = "*"
        return croniter(" ".join(texts), start, second_at_beginning=True, day_or=either_day)

    def in_utc(self, now: datetime) -> Cron:
        """Return an expression in UTC with the same times. It is valid until the zone changes its clock.

        Raises UserError when one expression cannot represent the times.
        """
        offset = _utc_offset(self.zone, now)
        if not offset:
            return Cron(self.text)
        converted = Cron(_shift_to_utc(self, offset))
        iterator = self._iterate(now.astimezone(timezone(offset)))
        expected = [iterator.get_next(datetime).astimezone(UTC) for _ in range(_COMPARED_TIMES)]
        if expected != list(islice(converted.times(now), _COMPARED_TIMES)):
            raise _conversion_error(self)
        return converted

    def clock_change(self, now: datetime) -> date | None:
        """Return the next day in the zone, within a year, on which its clock changes, or None."""
        offset = _utc_offset(self.zone, now)
        days = (now + timedelta(days=number) for number in range(1, 366))
        after = next((day for day in days if _utc_offset(self.zone, day) != offset), None)
        if after is None:
            return None
        # The clock changes between two of the days, so the day before may be the day of the change.
        before = after - timedelta(days=1)
        while after - before > timedelta(seconds=1):
            middle = before + (after - before) / 2
            if _utc_offset(self.zone, middle) == offset:
                before = middle
            else:
                after = middle
        return after.astimezone(ZoneInfo(self.zone)).date()


def _parse_fields(fields: list[str]) -> list[FieldValue]:
    unix = len(fields) == 5
    texts = ["0", *fields] if unix else fields
    return [parse_field(field, text, unix=unix) for field, text in zip(FIELDS, texts, strict=True)]


def _check_days(values: list[FieldValue]) -> None:
    """Raise UserError if no date matches, or if it depends on the cron program which dates match."""
    _, _, _, day, month, weekday = values
    every_day, every_weekday = len(day.numbers) == 31, len(weekday.numbers) == 7
    if not (every_day or every_weekday) and (day.has_star or weekday.has_star):
        raise UserError(
            f"day of month {day.text!r} and weekday {weekday.text!r} are both restricted, and cron programs "
            "differ in whether both must match. Without *, one of them is sufficient: list the numbers, or "
            "use * for one of the fields"
        )
    if every_weekday and day.numbers[0] > max(_LONGEST_MONTHS[number - 1] for number in month.numbers):
        raise UserError(f"day of month {day.text!r} does not exist in month {month.text!r}")


def _utc_offset(zone: str, time: datetime) -> timedelta:
    return time.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()


def _conversion_error(cron: Cron) -> UserError:
    return UserError(
        f"cron {cron.text!r} in {cron.zone} cannot be converted to one cron expression in UTC, and the "
        "server accepts only UTC: some of its times are on another day in UTC. Write it in UTC, or as two "
        "schedules"
    )


def _shift_to_utc(cron: Cron, offset: timedelta) -> str:
    """Return the expression with its hours and minutes in UTC, and its weekdays where the day changes."""
    second, _, _, day, month, weekday = cron.text.split()
    _, minutes, hours, _, _, weekdays = (value.numbers for value in _parse_fields(cron.text.split()))
    offset_minutes = int(offset.total_seconds()) // 60
    shifted = [divmod(60 * h + m - offset_minutes, _MINUTES_PER_DAY) for h in hours for m in minutes]
    day_shifts = {day_shift for day_shift, _ in shifted}
    clock_times = {divmod(minute, 60) for _, minute in shifted}
    utc_hours, utc_minutes = sorted({h for h, _ in clock_times}), sorted({m for _, m in clock_times})
    if len(clock_times) != len(utc_hours) * len(utc_minutes):
        raise _conversion_error(cron)
    if day_shifts != {0} and (day, month, weekday) != ("*", "*", "*"):
        if len(day_shifts) > 1 or (day, month) != ("*", "*"):
            raise _conversion_error(cron)
        shifted_weekdays = {(number + min(day_shifts)) % 7 for number in weekdays}
        weekday = ",".join(map(str, sorted(shifted_weekdays)))
    hour = "*" if len(utc_hours) == 24 else ",".join(map(str, utc_hours))
    minute = "*" if len(utc_minutes) == 60 else ",".join(map(str, utc_minutes))
    return " ".join([second, minute, hour, day, month, weekday])
