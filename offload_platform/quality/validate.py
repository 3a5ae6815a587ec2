"""Typed rows against the contract's pandera model: which rows break which rules.

The model is the one statement of the rules. Its checks are run once over a block, and what they say of each row is all
that is looked at; `validate()` of pandera takes several passes to say the same.

Conversion failures of a cell and broken rules on the same cell are one fault, so a null that only stands for unreadable
text is not reported a second time as a missing value.
"""

import numpy as np
import polars as pl
from pandera.polars import Check, Column, PolarsData

from offload_platform.contracts.contract import Contract
from offload_platform.quality.conform import FAILURE_SCHEMA, Conformed, wires_of


class ContractDefect(Exception):
    """The contract itself cannot be applied: a rule raised, or is none of a column; or a type differs."""


BROKEN_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {"row": pl.UInt32, "reasons": pl.List(pl.String)}


def validate(conformed: Conformed, contract: Contract) -> pl.DataFrame:
    """Rows that break the contract: `row` (position) and `reasons` (sorted texts), ordered by row.

    Raises:
        ContractDefect: when a rule raises, or is one of the whole frame (a frame's check, or a unique column).
    """
    expected = {c.name: c.dtype for c in contract.columns.values()}
    if dict(conformed.rows.schema) != expected:
        raise ContractDefect(
            f"{contract.offload_type}: the contract does not fit its own columns: they are {conformed.rows.schema}, "
            f"not {expected}"
        )
    broken = _broken_rules(conformed.rows, contract)
    if conformed.failures.is_empty() and broken.is_empty():
        return pl.DataFrame(schema=BROKEN_SCHEMA)
    wires = wires_of(list(contract.columns.values()))
    wire = pl.col("column").replace_strict(wires, return_dtype=pl.String).alias("wire")
    unreadable = conformed.failures.with_columns(wire)
    readable = broken.with_columns(wire).join(unreadable, on=["row", "wire"], how="anti")
    cases = pl.concat([unreadable, readable])
    return cases.group_by("row").agg(reasons=pl.col("reason").unique().sort()).sort("row")


def _broken_rules(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """A row for each rule that a row breaks: its position, the column, and the rule as pandera names it."""
    rules, outcomes = _outcomes(rows, contract)
    holds = outcomes.select(pl.all().all()).row(0)
    positions: list[int] = []
    columns: list[str] = []
    reasons: list[str] = []
    for (column, rule), outcome, always in zip(rules, outcomes, holds, strict=True):
        if not always:
            broken = np.flatnonzero(~outcome.to_numpy()).tolist()
            positions += broken
            columns += [column] * len(broken)
            reasons += [f"{column}: {rule}"] * len(broken)
    return pl.DataFrame({"row": positions, "column": columns, "reason": reasons}, schema=FAILURE_SCHEMA)


def _outcomes(rows: pl.DataFrame, contract: Contract) -> tuple[list[tuple[str, str]], pl.DataFrame]:
    """Column and name of every rule of the model, and in their order what they say of each row."""
    schema = contract.ruled_schema
    if schema.checks or schema.unique or any(column.unique for column in schema.columns.values()):
        raise _of_the_whole_frame(contract)
    needed = {name: column for name, column in schema.columns.items() if not column.nullable}
    present = rows.select(_is_present(name, column).alias(name) for name, column in needed.items())
    checks = [(name, check) for name, column in schema.columns.items() for check in column.checks]
    frame = rows.lazy()
    try:
        passed = pl.collect_all([_outcome(check, PolarsData(frame, name)) for name, check in checks])
    except Exception as error:
        raise ContractDefect(f"{contract.offload_type}: a check of the contract raised: {error!r}") from error
    if any(outcome.height != rows.height for outcome in passed):
        raise _of_the_whole_frame(contract)
    rules = [(name, "not_nullable") for name in needed] + [(name, check.error or check.name) for name, check in checks]
    outcomes = present.get_columns() + [outcome.to_series() for outcome in passed]
    return rules, pl.DataFrame([outcome.alias(str(nth)) for nth, outcome in enumerate(outcomes)])


def _outcome(check: Check, of: PolarsData) -> pl.LazyFrame:
    """What a check says of each row. To call the check would have pandera write its report, at many times the cost."""
    outcome: bool | pl.LazyFrame = check.get_backend(of.lazyframe)(check).apply(of)  # type: ignore[no-untyped-call]
    if isinstance(outcome, bool):
        outcome = pl.LazyFrame({"of all rows": [outcome]})
    passed = pl.first()
    return outcome.select((passed | passed.is_null()) if check.ignore_na else passed.fill_null(False))


def _of_the_whole_frame(contract: Contract) -> ContractDefect:
    return ContractDefect(
        f"{contract.offload_type}: a rule of the whole frame is not told of a row. Make it a check of one column, "
        "which sees the others as well."
    )


def _is_present(name: str, column: Column) -> pl.Expr:
    is_present = pl.col(name).is_not_null()
    # pandera holds a number that is none for a missing one.
    return is_present & pl.col(name).is_not_nan() if column.dtype.type == pl.Float64 else is_present
