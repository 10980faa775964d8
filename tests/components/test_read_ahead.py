"""Reading ahead in a thread: the same order as without, and an end in each case."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa
import pytest

from components.prep_data.read_ahead import read_ahead
from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.core.errors import UserError
from workloads.contract import Rows
from workloads.load_context import SetAside


def rows(first: int) -> Rows:
    return Rows(pa.RecordBatch.from_pydict({"x": [first]}), "a.csv", first)


def bad(number: int) -> BadRow:
    return BadRow("a.csv", number, BadRowType.FIELDS, "2 columns", "")


def load(set_aside: SetAside) -> Iterator[Rows]:
    for number in range(1, 10):
        if number % 3:
            yield rows(number)
        else:
            set_aside(bad(number))
    raise UserError("the file is damaged")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"]


@pytest.mark.parametrize("in_thread", [True, False])
def test_batches_bad_rows_and_errors_arrive_in_their_order(in_thread: bool) -> None:
    events: list[int] = []
    consumer = threading.get_ident()

    def set_aside(row: BadRow) -> None:
        assert threading.get_ident() == consumer
        events.append(-row.row)

    batches = read_ahead(load, set_aside, in_thread)
    with pytest.raises(UserError, match="damaged"):
        events.extend(batch.first for batch in batches)
    assert events == [1, 2, -3, 4, 5, -6, 7, 8, -9]
    assert not threads()


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_bad_row_that_may_not_be_set_aside_is_the_first_error(in_thread: bool) -> None:
    def set_aside(row: BadRow) -> None:
        raise UserError(str(row))

    with pytest.raises(UserError, match="row 3"):
        list(read_ahead(load, set_aside, in_thread))
    assert not threads()


def endless(set_aside: SetAside) -> Iterator[Rows]:
    while True:
        with suppress(Exception):
            set_aside(bad(1))
        yield rows(1)


def test_the_thread_ends_with_the_consumer(recwarn: pytest.WarningsRecorder) -> None:
    batches = read_ahead(endless, lambda _: None, in_thread=True)
    next(batches)
    assert threads()
    batches.close()  # type: ignore[attr-defined]
    assert not threads()
    assert not recwarn.list


@pytest.mark.parametrize(("cores", "expected"), [({0}, False), ({0, 1}, True)])
def test_a_thread_is_used_on_more_than_one_core(
    cores: set[int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: cores)
    other: list[bool] = []

    def observe(_: Callable[[BadRow], None]) -> Iterator[Rows]:
        other.append(threading.current_thread() is not threading.main_thread())
        yield rows(1)

    assert [batch.first for batch in read_ahead(observe, lambda _: None)] == [1]
    assert other == [expected]
