"""Cron as people write it, and as the Kubeflow server reads it: six fields, seconds first, in UTC.

Five fields are minutes to weekdays, six have the seconds in front; names (MON, JAN), ranges, lists and
steps as in https://pkg.go.dev/github.com/robfig/cron#hdr-CRON_Expression_Format. The server reads five
fields as if the first were seconds, and refuses a time zone: both are turned into what it means here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from continuous_training.core.errors import UserError

_CHECKED = 40
"""Times that the turned expression is compared with the given one for."""


@dataclass(frozen=True)
class Cron:
    """An expression of six fields, and the zone that its times are in."""

    text: str
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Cron:
        """Return the cron of five or six fields; UserError for anything else."""
        fields = str(text).split()
        if len(fields) == 5:
            fields = ["0", *fields]
        joined = " ".join(fields)
        if len(fields) != 6 or not croniter.is_valid(joined, second_at_beginning=True):
            raise UserError(
                f"cron {text!r}: five fields (minute hour day month weekday) or six (second first), "
                "as in '30 2 * * *' for half past two each night"
            )
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UserError(f"there is no time zone {zone!r}; one is, for instance, Europe/Berlin") from None
        return cls(joined, zone)

    def times(self, start: datetime, end: datetime | None = None) -> Iterator[datetime]:
        """Yield the times (UTC) after `start`, up to and without `end`."""
        try:
            found = croniter(self.text, start.astimezone(ZoneInfo(self.zone)), second_at_beginning=True)
            while end is None or found.get_next(datetime) < end:
                if end is None:
                    found.get_next(datetime)
                yield found.get_current(datetime).astimezone(UTC)
        except CroniterError:
            raise UserError(f"cron {self.text!r} never comes about") from None

    def in_utc(self, now: datetime) -> Cron:
        """Return the same times as UTC says them, until the zone changes its clock.

        UserError where one expression cannot say them.
        """
        offset = _offset(self.zone, now)
        if not offset:
            return Cron(self.text)
        turned = Cron(_shifted(self, offset))
        fixed = timezone(offset)
        wanted = croniter(self.text, now.astimezone(fixed), second_at_beginning=True)
        given = [wanted.get_next(datetime).astimezone(UTC) for _ in range(_CHECKED)]
        if given != list(islice(turned.times(now), _CHECKED)):
            raise _unsayable(self)
        return turned

    def clock_change(self, now: datetime) -> date | None:
        """Return the next day on which the zone changes its clock, looking a year ahead; None for none."""
        before = _offset(self.zone, now)
        days = (now + timedelta(days=number) for number in range(1, 366))
        return next((day.date() for day in days if _offset(self.zone, day) != before), None)


def _offset(zone: str, when: datetime) -> timedelta:
    return when.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()


def _unsayable(cron: Cron) -> UserError:
    return UserError(
        f"cron {cron.text!r} in {cron.zone} is no single cron expression in UTC, and the server knows "
        "no other: it crosses midnight there. Write it in UTC, or as two schedules"
    )


def _shifted(cron: Cron, offset: timedelta) -> str:
    """Return the expression with its clock times moved to UTC, its weekdays too where midnight is crossed."""
    second, _, _, day, month, weekday = cron.text.split()
    expanded = croniter.expand(cron.text, second_at_beginning=True)[0]
    minutes, hours = _numbers(expanded[0], 60), _numbers(expanded[1], 24)
    moved = [divmod(60 * h + m - int(offset.total_seconds()) // 60, 24 * 60) for h in hours for m in minutes]
    days = {shift for shift, _ in moved}
    clocks = {divmod(minute, 60) for _, minute in moved}
    new_hours, new_minutes = sorted({h for h, _ in clocks}), sorted({m for _, m in clocks})
    if len(clocks) != len(new_hours) * len(new_minutes):
        raise _unsayable(cron)
    if days != {0} and (day, month, weekday) != ("*", "*", "*"):
        if len(days) > 1 or (day, month) != ("*", "*"):
            raise _unsayable(cron)
        wanted = {(number + min(days)) % 7 for number in _numbers(expanded[4], 7)}
        weekday = ",".join(map(str, sorted(wanted)))
    hour = "*" if len(new_hours) == 24 else ",".join(map(str, new_hours))
    minute = "*" if len(new_minutes) == 60 else ",".join(map(str, new_minutes))
    return " ".join([second, minute, hour, day, month, weekday])


def _numbers(expanded: list[int | str], count: int) -> list[int]:
    """Return a field's numbers; croniter says `*` for all of them."""
    if "*" in expanded:
        return list(range(count))
    return sorted({int(number) % count for number in expanded})
