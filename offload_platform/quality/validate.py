"""Typed rows against the contract's pandera model: which rows break which rules.

The model is the one statement of the rules. Conversion failures of a cell and broken rules on the same cell are one
fault, so a null that only stands for unreadable text is not reported a second time as a missing value.
"""

import pandera.errors
import polars as pl

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


def _rule_failures(conformed: Conformed, contract: Contract) -> pl.DataFrame:
    expected = {c.name: c.dtype for c in contract.columns.values()}
    if dict(conformed.rows.schema) != expected:
        raise ContractDefect(
            f"{contract.offload_type}: the contract does not fit its own columns: they are {conformed.rows.schema}, "
            f"not {expected}"
        )
    try:
        contract.ruled_schema.validate(conformed.rows, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        found = errors.failure_cases
    else:
        return conformed.failures.clear()
    if found["index"].null_count():
        whole = found.filter(pl.col("index").is_null())
        raise ContractDefect(f"{contract.offload_type}: the contract does not fit its own columns: {whole.rows()}")
    rules = found.select(
        row=pl.col("index").cast(pl.UInt32),
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
