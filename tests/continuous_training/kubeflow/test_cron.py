"""Each cron expression is rejected, or the server interprets it exactly as Unix cron does."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.schedules.cron import Cron
from tests import robfig_cron

YEAR = np.arange("2028-01-01", "2029-01-01", dtype="datetime64[D]")
"""The days of a leap year."""
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = {3: robfig_cron.MONTHS, 4: robfig_cron.WEEKDAYS}
FIELD_NAMES = ("minute", "hour", "day of month", "month", "weekday")


def times_of_a_year(fields: list[set[int]], both_days: bool) -> np.ndarray:
    """Return the times of the year that match minutes, hours, days, months and weekdays."""
    minutes, hours, *day_fields = fields
    months = YEAR.astype("datetime64[M]")
    calendar = (
        (YEAR - months).astype(int) + 1,
        months.astype(int) % 12 + 1,
        (YEAR.astype(int) + 4) % 7,  # 1970-01-01 was a Thursday.
    )
    day, month, weekday = (
        np.isin(values, list(numbers)) for values, numbers in zip(calendar, day_fields, strict=True)
    )
    days = YEAR[month & (day & weekday if both_days else day | weekday)].astype("datetime64[m]")
    clock = np.array([60 * hour + minute for hour in sorted(hours) for minute in sorted(minutes)])
    return (days[:, None] + clock).ravel()


def unix_times(expression: str) -> np.ndarray:
    """Return the times of the year at which Unix cron (crontab(5) of Vixie cron) runs a command.

    In addition to Unix cron, a range that passes the end of its field is accepted.
    """
    texts = expression.split()
    fields = [unix_field(index, text) for index, text in enumerate(texts)]
    return times_of_a_year(fields, both_days=texts[2][0] == "*" or texts[4][0] == "*")


def unix_field(index: int, text: str) -> set[int]:
    first, last = RANGES[index]
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        ends = [first, last] if span == "*" else [unix_number(index, end) for end in span.split("-")]
        numbers |= set(unix_range(index, ends[0], ends[-1])[:: int(step or 1)])
    return {0 if index == 4 and number == 7 else number for number in numbers}


def unix_range(index: int, start: int, end: int) -> list[int]:
    """Count from `start` to `end`, and from the last number of the field to its first."""
    first, last = RANGES[index]
    if index == 4 and start > end == 0:
        end = 7
    numbers = [start]
    for _ in range(last):
        if numbers[-1] == end:
            break
        # Weekday 7 is weekday 0.
        numbers.append(numbers[-1] + 1 if numbers[-1] < last else first + (index == 4))
    return numbers


def unix_number(index: int, text: str) -> int:
    names = NAMES.get(index, [])
    return names.index(text.lower()) + RANGES[index][0] if text.lower() in names else int(text)


def numbers(index: int) -> st.SearchStrategy[str]:
    digits = st.integers(*RANGES[index]).map(str)
    names = st.sampled_from(NAMES.get(index, ["0"]))
    return digits | st.one_of(names, names.map(str.upper), names.map(str.title)) if index in NAMES else digits


def items(index: int) -> st.SearchStrategy[str]:
    spans = st.just("*") | st.tuples(numbers(index), numbers(index)).map("-".join)
    steps = st.integers(1, 40).map(lambda step: f"/{step}")
    return numbers(index) | spans | st.tuples(spans, steps).map("".join)


def fields(index: int) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(items(index), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(*map(fields, range(5))).map(" ".join)


def is_ambiguous(expression: str) -> bool:
    """Return whether one of the documented reasons to reject an expression applies."""
    texts = expression.split()
    star_in_list = any("," in text and {"*", "*/1"} & set(text.split(",")) for text in texts)
    restricted = [len(unix_field(index, texts[index])) < size for index, size in ((2, 31), (4, 7))]
    star_in_days = "*" in texts[2] + texts[4] and all(restricted)
    return star_in_list or star_in_days or any(map(passes_the_end_of_a_month, texts[2].split(",")))


def passes_the_end_of_a_month(item: str) -> bool:
    """Return whether an item is a range of days such as 25-5, with a step."""
    span, _, step = item.partition("/")
    ends = [int(end) for end in span.split("-") if end != "*"]
    return len(ends) == 2 and ends[0] > ends[1] and int(step or 1) > 1


def parse_or_error(expression: str) -> Cron | str:
    try:
        return Cron.parse(expression)
    except UserError as error:
        return str(error)


@given(EXPRESSIONS)
def test_an_expression_is_interpreted_as_by_unix_cron_or_rejected(expression: str) -> None:
    expected = unix_times(expression)
    cron = parse_or_error(expression)
    if isinstance(cron, str):
        assert any(name in cron for name in FIELD_NAMES)
        assert is_ambiguous(expression) or not len(expected)
        return
    server = robfig_cron.parse(cron.text)
    assert server.fields[0] == {0}
    assert np.array_equal(times_of_a_year(server.fields[1:], server.both_days), expected)
    start = datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)
    times = islice(cron.times(start), min(3, len(expected)))
    assert [np.datetime64(time.replace(tzinfo=None), "m") for time in times] == expected[:3].tolist()


@given(st.text("0123456789*/-,#?LWHRMON @", max_size=30) | st.text(max_size=20))
def test_any_text_is_rejected_or_accepted_by_the_server(text: str) -> None:
    cron = parse_or_error(text)
    assert isinstance(cron, str) or all(robfig_cron.parse(cron.text).fields)


@pytest.mark.parametrize(
    ("text", "six_fields"),
    [
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 3 * * 5-7", "0 0 3 * * 5,6,0"),
        ("0 3 * * 0-7", "0 0 3 * * 0,1,2,3,4,5,6"),
        ("0 22-2 * * *", "0 0 22,23,0,1,2 * * *"),
        ("0 22-4/3 * * *", "0 0 22,1,4 * * *"),
        ("0 3 * * FRI-MON", "0 0 3 * * 5,6,0,1"),
        ("0 3 * nov-Feb *", "0 0 3 * 11,12,1,2 *"),
        ("0 3 28-2 * *", "0 0 3 28,29,30,31,1,2 * *"),
        ("*/7 * * * *", "0 */7 * * * *"),
        ("*/90 3 * * *", "0 */90 3 * * *"),
        ("0 3 13 * Fri", "0 0 3 13 * Fri"),
        ("0 3 */1 * MON", "0 0 3 */1 * MON"),
        ("0 3 ? * MON", "0 0 3 ? * MON"),
        ("0 3 29 2 *", "0 0 3 29 2 *"),
        ("  0\t3   * * *  ", "0 0 3 * * *"),
        ("15 5/10 * * * *", "15 5/10 * * * *"),
        ("0 0 3 * * 7", "0 0 3 * * 0"),
        ("@daily", "0 0 0 * * *"),
        ("@weekly", "0 0 0 * * 0"),
        ("@yearly", "0 0 0 1 1 *"),
    ],
)
def test_accepted_expressions(text: str, six_fields: str) -> None:
    assert Cron.parse(text).text == six_fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 L * *", "day of month 'L'"),
        ("0 3 15W * *", "day of month '15W'"),
        ("0 3 * * FRI#2", "weekday 'FRI#2'"),
        ("0 3 * * 5L", "weekday '5L'"),
        ("R R * * *", "minute 'R'"),
        ("0 H * * *", "hour 'H'"),
        ("5/10 * * * *", "minute '5/10': a step requires a range: write 5-59/10"),
        ("*/0 * * * *", "minute '*/0': the step must be at least 1"),
        ("60 * * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 MON * * *", "hour 'MON'"),
        ("0 3 0 * *", "day of month '0'"),
        ("0 3 * 13 *", "month '13'"),
        ("0 3 * JANUARY *", "month 'JANUARY'"),
        ("0 3 * * 8", "weekday '8'"),
        ("0 3 * * 1, 5", "month ''"),
        ("0 3 25-5/2 * *", "day of month '25-5/2': months differ in length"),
        ("*,5 * * * *", "minute '*,5': the list contains *"),
        ("*-5 * * * *", "minute '*-5'"),
        ("0 ? * * *", "hour '?'"),
        ("0 3 */2 * MON", "day of month '*/2' and weekday 'MON' are both restricted"),
        ("0 3 30,31 2 *", "day of month '30,31' does not exist in month '2'"),
        ("0 3 * * *\u0661", "weekday"),
        ("0 3 * * \u017fun", "weekday"),
        ("0 9 * * 1-5 root", "weekday 'root'"),
        ("@reboot", "five fields"),
        ("@every 1h", "five fields"),
        ("", "five fields"),
        ("0 0 3 * * * 2027", "five fields"),
    ],
)
def test_rejected_expressions(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        Cron.parse(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0 0 1 6 *", ["2027-06-01T00:00", "2028-06-01T00:00"]),
        ("0 0 * 6 MON", ["2027-06-07T00:00", "2027-06-14T00:00"]),
        ("0 0 13 6 FRI", ["2027-06-04T00:00", "2027-06-11T00:00", "2027-06-13T00:00"]),
    ],
)
def test_the_days_of_an_expression(text: str, times: list[str]) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    expected = [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times]
    assert list(islice(Cron.parse(text).times(start), len(times))) == expected


@pytest.mark.parametrize(
    ("text", "zone", "in_utc"),
    [
        ("30 2 * * *", "Europe/Berlin", "0 30 1 * * *"),
        ("0 0 * * MON", "Asia/Tokyo", "0 0 15 * * 0"),
        ("0 22 * * 1-5", "America/New_York", "0 0 3 * * 2,3,4,5,6"),
        ("0 9 * * *", "Asia/Kolkata", "0 30 3 * * *"),
        ("*/15 * * * *", "Asia/Kolkata", "0 0,15,30,45 * * * *"),
        ("* * * * *", "Asia/Kolkata", "0 * * * * *"),
        ("0 3 1 * *", "Europe/Berlin", "0 0 2 1 * *"),
        ("0 0 * * *", "Europe/Berlin", "0 0 23 * * *"),
        ("0 3 1 * *", "UTC", "0 0 3 1 * *"),
    ],
)
def test_an_expression_in_utc(text: str, zone: str, in_utc: str) -> None:
    assert Cron.parse(text, zone).in_utc(datetime(2027, 1, 15, tzinfo=UTC)).text == in_utc


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0 0 1 * *", "Europe/Berlin"),
        ("0 0 * 3 *", "Europe/Berlin"),
        ("0 0,12 * * 1", "Europe/Berlin"),
        ("0,45 3 * * *", "Asia/Kolkata"),
    ],
)
def test_times_that_no_expression_in_utc_has(text: str, zone: str) -> None:
    with pytest.raises(UserError, match="cannot be converted"):
        Cron.parse(text, zone).in_utc(datetime(2027, 1, 15, tzinfo=UTC))


@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", date(2027, 3, 28)),
        ("America/New_York", date(2027, 3, 14)),
        ("Australia/Lord_Howe", date(2027, 4, 4)),
        ("Asia/Tokyo", None),
        ("UTC", None),
    ],
)
def test_the_next_clock_change_does_not_depend_on_the_time_of_day(
    zone: str, change: date | None, hour: int
) -> None:
    now = datetime(2027, 1, 15, hour, tzinfo=UTC)
    assert Cron.parse("0 3 * * *", zone).clock_change(now) == change


def test_a_clock_change_on_the_same_day() -> None:
    """The clock in Berlin changes at 01:00 UTC."""
    cron = Cron.parse("0 3 * * *", "Europe/Berlin")
    assert cron.clock_change(datetime(2027, 3, 28, 0, 59, tzinfo=UTC)) == date(2027, 3, 28)
    assert cron.clock_change(datetime(2027, 3, 28, 1, tzinfo=UTC)) == date(2027, 10, 31)
