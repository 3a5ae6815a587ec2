"""Typed rows against the contract's pandera model: which rows break which rules.

The model is the one statement of the rules. Its checks are run once over a block, and what they say of each row is all
that is looked at; `validate()` of pandera takes several passes to say the same.

Conversion failures of a cell and broken rules on the same cell are one fault, so a null that only stands for unreadable
text is not reported a second time as a missing value.
"""

from collections.abc import Iterator

import polars as pl
from pandera.polars import Column

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
    cases = pl.concat([conformed.failures, _rule_failures(conformed, contract)])
    if cases.is_empty():
        return pl.DataFrame(schema=BROKEN_SCHEMA)
    return cases.group_by("row").agg(reasons=pl.col("reason").unique().sort()).sort("row")


def _rule_failures(conformed: Conformed, contract: Contract) -> pl.DataFrame:
    expected = {c.name: c.dtype for c in contract.columns.values()}
    if dict(conformed.rows.schema) != expected:
        raise ContractDefect(
            f"{contract.offload_type}: the contract does not fit its own columns: they are {conformed.rows.schema}, "
            f"not {expected}"
        )
    rules = _broken_rules(conformed.rows, contract)
    if rules.is_empty():
        return rules
    wires = wires_of(list(contract.columns.values()))
    unreadable = conformed.failures.select("row", wire=pl.col("column").replace_strict(wires, return_dtype=pl.String))
    return (
        rules.with_columns(wire=pl.col("column").replace_strict(wires, return_dtype=pl.String))
        .join(unreadable, on=["row", "wire"], how="anti")
        .select("row", "column", "reason")
    )


def _broken_rules(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """A row for each rule that a row breaks: its position, the column, and the rule as pandera names it."""
    cases = [pl.DataFrame(schema=FAILURE_SCHEMA)]
    for column, rule, passed in _outcomes(rows, contract):
        if not passed.all():
            broken = pl.DataFrame({"row": (~passed).arg_true()})
            cases.append(broken.with_columns(column=pl.lit(column), reason=pl.lit(f"{column}: {rule}")))
    return pl.concat(cases)


def _outcomes(rows: pl.DataFrame, contract: Contract) -> Iterator[tuple[str, str, pl.Series]]:
    """Column, name and outcome by row of every rule of the model."""
    schema = contract.ruled_schema
    if schema.checks or schema.unique or any(column.unique for column in schema.columns.values()):
        raise ContractDefect(
            f"{contract.offload_type}: a rule of the whole frame is not told of a row. Make it a check of one column, "
            "which sees the others as well."
        )
    needed = [_is_present(name, column).alias(name) for name, column in schema.columns.items() if not column.nullable]
    for present in rows.select(needed):
        yield present.name, "not_nullable", present
    frame = rows.lazy()
    for name, column in schema.columns.items():
        for check in column.checks:
            try:
                passed = check(frame, name).check_output.collect().to_series()
            except Exception as error:
                raise ContractDefect(f"{contract.offload_type}: a check of the contract raised: {error!r}") from error
            yield name, check.error or check.name, passed


def _is_present(name: str, column: Column) -> pl.Expr:
    is_present = pl.col(name).is_not_null()
    # pandera holds a number that is none for a missing one.
    return is_present & pl.col(name).is_not_nan() if column.dtype.type == pl.Float64 else is_present
