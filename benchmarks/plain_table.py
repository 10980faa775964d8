"""The reference of the benchmark of tables: a plain script with pandas and scikit-learn.

    python -m benchmarks.plain_table FILE.csv LABEL FOLDER [--champion COLUMN]

It reads the file, drops duplicate rows and those with a missing value, splits by a hash of each row, writes
both sides as Parquet, fits least squares on all columns, and scores the model. Of a text with few values, the
values are used, and of another text its length. With --champion, it also fits and scores a model on that
column.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

MAX_VALUES = 20
"""Values of a text whose values are used."""


def numbers(rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Return columns as numbers: float64 [rows, k]."""
    texts = [name for name in columns if not pd.api.types.is_numeric_dtype(rows[name])]
    if not texts:
        return np.asarray(rows[columns].to_numpy())
    categories = [name for name in texts if rows[name].nunique() <= MAX_VALUES]
    lengths = {name: rows[name].str.len() for name in texts if name not in categories}
    return np.asarray(
        pd.get_dummies(rows[columns].assign(**lengths), columns=categories, dtype=float).to_numpy()
    )


def main() -> None:
    """Run the script, and print the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("label")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--champion")
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.file).dropna().drop_duplicates()
    held_out = pd.util.hash_pandas_object(rows, index=False).to_numpy() / 2.0**64 < 0.2
    train, holdout = rows[~held_out], rows[held_out]
    arguments.folder.mkdir(exist_ok=True)
    train.to_parquet(arguments.folder / "train.parquet")
    holdout.to_parquet(arguments.folder / "holdout.parquet")
    features = [name for name in rows.columns if name != arguments.label]
    scores = []
    for columns in (features, [arguments.champion] if arguments.champion else []):
        if columns:
            model = LinearRegression().fit(numbers(train, columns), train[arguments.label].to_numpy())
            predicted = model.predict(numbers(holdout, columns))
            scores.append(r2_score(holdout[arguments.label], predicted))
    print(json.dumps({"r2": scores}))


if __name__ == "__main__":
    main()
