"""Create the table of the iris workload and fill it. Rows that exist are not changed.

The first 150 rows are Fisher's flowers. Further rows (--rows 170, or --more 20 for new data) are generated:
each is a flower of Fisher with a small random change of its measurements. The random numbers depend only on
the row number, so that row 151 is the same in every database. The column `drawn` marks generated rows.

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
"""Standard deviation of the random change of a measurement, in centimetres."""


def flower(number: int, fishers: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return row `number` (from 1): id, four measurements in cm, species, and whether it is generated."""
    if number <= len(fishers):
        return (*fishers[number - 1], False)
    rng = np.random.default_rng(number)
    _, *original, species = fishers[rng.integers(len(fishers))]
    measurements = np.round(np.maximum(np.array(original) + rng.normal(0, SPREAD, len(original)), 0.1), 1)
    return (number, *measurements.tolist(), species, True)


def seed(source: str, table: str = TABLE, rows: int = 150, more: int = 0) -> tuple[int, int]:
    """Create the table if it is missing, and insert the missing rows of 1 to `rows` and `more` new rows.

    Returns the number of added rows and the number of all rows. Concurrent calls are safe.
    """
    fishers = scikit_learn_rows()
    with postgres.connect(source) as connection, connection.cursor() as cursor:
        # CREATE TABLE IF NOT EXISTS fails in concurrent transactions; this lock is held until the commit.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [table])
        create, insert, count = _statements(table)
        cursor.execute(create)
        before, last = cursor.execute(count).fetchone() or (0, 0)
        numbers = [*range(1, rows + 1), *range(max(last, rows) + 1, max(last, rows) + more + 1)]
        cursor.executemany(insert, [flower(number, fishers) for number in numbers])
        after, _ = cursor.execute(count).fetchone() or (0, 0)
    return after - before, after


def _statements(table: str) -> tuple[Composed, Composed, Composed]:
    """Return the statements that create the table, insert a row, and select the row count and maximum id."""
    from psycopg import sql

    name, measurements = sql.Identifier(*table.split(".")), list(map(sql.Identifier, MEASUREMENTS))
    column = sql.SQL("{} double precision NOT NULL")
    columns = sql.SQL(", ").join(column.format(measurement) for measurement in measurements)
    create = sql.SQL(
        "CREATE TABLE IF NOT EXISTS {} (id bigint PRIMARY KEY, {}, species text NOT NULL, "
        "drawn boolean NOT NULL, added timestamptz NOT NULL DEFAULT now())"
    )
    insert = sql.SQL(
        "INSERT INTO {} (id, {}, species, drawn) VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (id) DO NOTHING"
    )
    count = sql.SQL("SELECT count(*), coalesce(max(id), 0) FROM {}")
    names = sql.SQL(", ").join(measurements)
    return create.format(name, columns), insert.format(name, names), count.format(name)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workloads.iris.seed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="postgresql://HOST:PORT/DATABASE", help="the database")
    parser.add_argument("--table", default=TABLE, help=f"the table's name; default: {TABLE}")
    parser.add_argument("--rows", type=int, default=150, metavar="N", help="insert the rows 1 to N")
    parser.add_argument("--more", type=int, default=0, metavar="N", help="add N new rows")
    arguments = parser.parse_args(argv)
    try:
        if min(arguments.rows, arguments.more) < 0:
            raise UserError("--rows and --more must not be negative")
        next(p for p in Iris.own_parameters if p.name == "table").parse(arguments.table)
        added, total = seed(arguments.source, arguments.table, arguments.rows, arguments.more)
    except PipelineError as error:
        report(f"error: {error}")
        return error.exit_code
    print(f"{arguments.table}: {added} rows added, {total} rows in total")
    return 0


if __name__ == "__main__":
    sys.exit(main())
