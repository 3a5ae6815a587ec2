"""Typed rows against the contract's pandera model: which rows break which rules.

The model is the one statement of the rules. Its checks are run once over a block to find the rows that may break one;
pandera itself, which takes several passes, then sees these alone and says which rules they break.

Conversion failures of a cell and broken rules on the same cell are one fault, so a null that only stands for unreadable
text is not reported a second time as a missing value.
"""

import pandera.errors
import polars as pl
from pandera.polars import Column

from offload_platform.contracts.contract import Contract
from offload_platform.quality.conform import Conformed, wires_of


class ContractDefect(Exception):
    """The contract itself cannot be applied: a check raised, or a column has another type than the contract says."""


BROKEN_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {"row": pl.UInt32, "reasons": pl.List(pl.String)}


def validate(conformed: Conformed, contract: Contract) -> pl.DataFrame:
    """Rows that break the contract: `row` (position) and `reasons` (sorted texts), ordered by row.

    Raises:
        ContractDefect: when pandera reports a fault of the whole frame instead of rows.
    """
    cases = pl.concat([conformed.failures, _rule_failures(conformed, contract)])
    if cases.is_empty():
        return pl.DataFrame(schema=BROKEN_SCHEMA)
    return cases.group_by("row").agg(reasons=pl.col("reason").unique().sort()).sort("row")


def _suspects(rows: pl.DataFrame, contract: Contract) -> pl.Series:
    """Positions of the rows that may break a rule: all that do are among them."""
    schema = contract.ruled_schema
    if schema.checks or schema.unique or any(column.unique for column in schema.columns.values()):
        return pl.int_range(rows.height, dtype=pl.UInt32, eager=True)
    frame = rows.lazy()
    present = [_is_present(name, column) for name, column in schema.columns.items() if not column.nullable]
    passed = [rows.select(pl.all_horizontal(present)).to_series()] if present else []
    try:
        for name, column in schema.columns.items():
            passed += [check(frame, name).check_output.collect().to_series() for check in column.checks]
    except Exception as error:
        raise ContractDefect(f"{contract.offload_type}: a check of the contract raised: {error!r}") from error
    if not passed:
        return pl.Series(dtype=pl.UInt32)
    passed = [outcome.alias(str(number)) for number, outcome in enumerate(passed)]
    return pl.DataFrame(passed).select(~pl.all_horizontal(pl.all())).to_series().arg_true()


def _is_present(name: str, column: Column) -> pl.Expr:
    is_present = pl.col(name).is_not_null()
    # pandera holds a number that is none for a missing one.
    return is_present & pl.col(name).is_not_nan() if column.dtype.type == pl.Float64 else is_present


def _rule_failures(conformed: Conformed, contract: Contract) -> pl.DataFrame:
    expected = {c.name: c.dtype for c in contract.columns.values()}
    if dict(conformed.rows.schema) != expected:
        raise ContractDefect(
            f"{contract.offload_type}: the contract does not fit its own columns: they are {conformed.rows.schema}, "
            f"not {expected}"
        )
    suspects = _suspects(conformed.rows, contract)
    if not suspects.len():
        return conformed.failures.clear()
    try:
        contract.ruled_schema.validate(conformed.rows[suspects], lazy=True)
    except pandera.errors.SchemaErrors as errors:
        found = errors.failure_cases
    else:
        return conformed.failures.clear()
    if found["index"].null_count():
        whole = found.filter(pl.col("index").is_null())
        raise ContractDefect(f"{contract.offload_type}: the contract does not fit its own columns: {whole.rows()}")
    rules = found.select(
        row=suspects.gather(found["index"].cast(pl.UInt32)),
        column=pl.col("column"),
        reason=pl.format("{}: {}", "column", "check"),
    )
    wires = wires_of(list(contract.columns.values()))
    unreadable = conformed.failures.select("row", wire=pl.col("column").replace_strict(wires, return_dtype=pl.String))
    kept: pl.DataFrame = (
        rules.with_columns(wire=pl.col("column").replace_strict(wires, return_dtype=pl.String))
        .join(unreadable, on=["row", "wire"], how="anti")
        .select("row", "column", "reason")
    )
    return kept
