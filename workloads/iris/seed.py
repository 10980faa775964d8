"""Makes the table of the iris workload and fills it; again, it changes nothing.

The first 150 rows are Fisher's flowers. Those beyond (--rows 170, or --more 20 as a trickle of new data) are
drawn around them: each is one of Fisher's flowers whose measurements are moved by a little, by a generator
that the row's number seeds, so that row 151 is the same wherever it is made. The column `drawn` tells them
apart.

User and password are read from PGUSER and PGPASSWORD, or from the file that PGPASSFILE names.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from continuous_training.adapters import postgres
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.messages import report

from .handler import MEASUREMENTS
from .workload import TABLE, Iris, scikit_learn_rows

if TYPE_CHECKING:
    from psycopg.sql import Composed

SPREAD = 0.1
"""Standard deviation, in centimetres, of how far a drawn flower is from the one that it is drawn from."""


def flower(number: int, fishers: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return row `number` (from 1): id, four measurements in cm, species, and whether it is drawn."""
    if number <= len(fishers):
        return (*fishers[number - 1], False)
    rng = np.random.default_rng(number)
    _, *measured, species = fishers[rng.integers(len(fishers))]
    moved = np.round(np.maximum(np.array(measured) + rng.normal(0, SPREAD, len(measured)), 0.1), 1)
    return (number, *moved.tolist(), species, True)


def seed(source: str, table: str = TABLE, rows: int = 150, more: int = 0) -> tuple[int, int]:
    """Make the table where it is missing and let it hold rows 1 to `rows`, and `more` new ones.

    Returns how many rows were added and how many there are. Two who do this at once do no harm.
    """
    fishers = scikit_learn_rows()
    with postgres.connect(source) as connection, connection.cursor() as cursor:
        # IF NOT EXISTS does not save two who create at once from each other; the lock lasts to the end.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [table])
        create, insert, count = _statements(table)
        cursor.execute(create)
        before, last = cursor.execute(count).fetchone() or (0, 0)
        numbers = [*range(1, rows + 1), *range(max(last, rows) + 1, max(last, rows) + more + 1)]
        cursor.executemany(insert, [flower(number, fishers) for number in numbers])
        after, _ = cursor.execute(count).fetchone() or (0, 0)
    return after - before, after


def _statements(table: str) -> tuple[Composed, Composed, Composed]:
    """Return the statements that make the table, insert a row, and count rows with the greatest id."""
    from psycopg import sql

    name, measured = sql.Identifier(*table.split(".")), list(map(sql.Identifier, MEASUREMENTS))
    columns = sql.SQL(", ").join(sql.SQL("{} double precision NOT NULL").format(one) for one in measured)
    create = sql.SQL(
        "CREATE TABLE IF NOT EXISTS {} (id bigint PRIMARY KEY, {}, species text NOT NULL, "
        "drawn boolean NOT NULL, added timestamptz NOT NULL DEFAULT now())"
    )
    insert = sql.SQL(
        "INSERT INTO {} (id, {}, species, drawn) VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (id) DO NOTHING"
    )
    count = sql.SQL("SELECT count(*), coalesce(max(id), 0) FROM {}")
    return create.format(name, columns), insert.format(name, sql.SQL(", ").join(measured)), count.format(name)


def main(argv: list[str] | None = None) -> int:
    """Seed from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.iris.seed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="postgresql://HOST:PORT/DATABASE", help="where the table is made")
    parser.add_argument("--table", default=TABLE, help=f"its name; default: {TABLE}")
    parser.add_argument("--rows", type=int, default=150, metavar="N", help="let it hold rows 1 to N")
    parser.add_argument("--more", type=int, default=0, metavar="N", help="add N new rows")
    arguments = parser.parse_args(argv)
    try:
        if min(arguments.rows, arguments.more) < 0:
            raise UserError("--rows and --more are not negative")
        next(p for p in Iris.own_parameters if p.name == "table").parse(arguments.table)
        added, there = seed(arguments.source, arguments.table, arguments.rows, arguments.more)
    except PipelineError as error:
        report(f"error: {error}")
        return error.exit_code
    print(f"{arguments.table}: {added} rows added, {there} there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
