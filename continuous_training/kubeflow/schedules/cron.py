"""Cron expressions: five or six fields in any time zone, converted to six fields in UTC for the server.

Five fields are minute, hour, day, month, weekday; six fields begin with the second. Names (MON, JAN), ranges,
lists and steps follow https://pkg.go.dev/github.com/robfig/cron#hdr-CRON_Expression_Format. The conversion is
necessary because the server reads the first of five fields as seconds, and rejects time zones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from continuous_training.core.errors import UserError

_COMPARED_TIMES = 40
"""Number of times for which a converted expression is compared with the original."""

_MINUTES_PER_DAY = 24 * 60


@dataclass(frozen=True)
class Cron:
    """A cron expression with six fields, and its time zone."""

    text: str
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Cron:
        """Return the expression with six fields. Raises UserError for an invalid expression or zone."""
        fields = str(text).split()
        if len(fields) == 5:
            fields = ["0", *fields]
        expression = " ".join(fields)
        if len(fields) != 6 or not croniter.is_valid(expression, second_at_beginning=True):
            raise UserError(
                f"cron {text!r} is not valid: use five fields (minute hour day month weekday) or six (second "
                "first), for example '30 2 * * *' for 02:30 every day"
            )
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UserError(
                f"the time zone {zone!r} does not exist: use a name such as Europe/Berlin"
            ) from None
        return cls(expression, zone)

    def times(self, start: datetime, end: datetime | None = None) -> Iterator[datetime]:
        """Yield the times (UTC) after `start` and before `end`."""
        try:
            iterator = croniter(self.text, start.astimezone(ZoneInfo(self.zone)), second_at_beginning=True)
            while True:
                time = iterator.get_next(datetime)
                if end is not None and time >= end:
                    return
                yield time.astimezone(UTC)
        except CroniterError:
            raise UserError(f"cron {self.text!r} matches no date") from None

    def in_utc(self, now: datetime) -> Cron:
        """Return an expression in UTC with the same times. It is valid until the zone changes its clock.

        Raises UserError when one expression cannot represent the times.
        """
        offset = _utc_offset(self.zone, now)
        if not offset:
            return Cron(self.text)
        converted = Cron(_shift_to_utc(self, offset))
        iterator = croniter(self.text, now.astimezone(timezone(offset)), second_at_beginning=True)
        expected = [iterator.get_next(datetime).astimezone(UTC) for _ in range(_COMPARED_TIMES)]
        if expected != list(islice(converted.times(now), _COMPARED_TIMES)):
            raise _conversion_error(self)
        return converted

    def clock_change(self, now: datetime) -> date | None:
        """Return the next day, within a year, on which the clock of the zone changes, or None."""
        offset = _utc_offset(self.zone, now)
        days = (now + timedelta(days=number) for number in range(1, 366))
        return next((day.date() for day in days if _utc_offset(self.zone, day) != offset), None)


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
    expanded = croniter.expand(cron.text, second_at_beginning=True)[0]
    minutes, hours = _field_numbers(expanded[0], 60), _field_numbers(expanded[1], 24)
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
        weekdays = {(number + min(day_shifts)) % 7 for number in _field_numbers(expanded[4], 7)}
        weekday = ",".join(map(str, sorted(weekdays)))
    hour = "*" if len(utc_hours) == 24 else ",".join(map(str, utc_hours))
    minute = "*" if len(utc_minutes) == 60 else ",".join(map(str, utc_minutes))
    return " ".join([second, minute, hour, day, month, weekday])


def _field_numbers(expanded: list[int | str], count: int) -> list[int]:
    """Return the numbers of a field. croniter writes `*` for all of them."""
    if "*" in expanded:
        return list(range(count))
    return sorted({int(number) % count for number in expanded})
