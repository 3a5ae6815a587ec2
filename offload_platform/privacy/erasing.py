"""Erased persons in the tiers: how many rows they had, and the pseudonyms that must be found no more.

The tiers are made anew of the published file, which has lost the persons; nothing is deleted in them.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from shutil import rmtree

import duckdb

from offload_platform.landing.pseudonyms import key_from_environment
from offload_platform.privacy.rules import rules_of
from offload_platform.privacy.tiers import REPORT_SCRATCH, Tier, tiers_lock
from offload_platform.quality.protect import PseudonymKey
from offload_platform.vendors import vendor_names
from offload_platform.warehouse.erasure import Removed
from offload_platform.warehouse.files import WarehouseFiles, prepare
from offload_platform.warehouse.search import tables_that_hold
from offload_platform.warehouse.sql import fetched, quoted

_FIRST_YEAR = 2010
_QUARTERS = 4


def key_of_tiers() -> PseudonymKey:
    """The key in `OFFLOAD_PSEUDONYM_KEY`, without which nobody can say who is in the tiers.

    Raises:
        PseudonymKeyError: there is no usable key.
    """
    return key_from_environment("", "The privacy tiers were made with it; nobody is erased without it.")


def has_tiers(files: WarehouseFiles) -> bool:
    """Whether any tier is there."""
    return any(tier.file(files).exists() for tier in Tier)


def remove_tiers(files: WarehouseFiles) -> None:
    """Remove the files of all tiers, where nobody makes them any more."""
    for tier in Tier:
        tier.file(files).unlink(missing_ok=True)


def clear_leftovers(files: WarehouseFiles) -> None:
    """Remove what killed processes have left beside the tiers: files that never took their place, and the truth."""
    if not files.privacy.exists():
        return
    with tiers_lock(files):
        for left in files.privacy.glob("*/*"):
            if ".new" in left.name or left.suffix == ".spilled" or left.name.startswith(REPORT_SCRATCH):
                rmtree(left) if left.is_dir() else left.unlink()


def pseudonyms_in_tiers(ids: Collection[str], key: PseudonymKey) -> set[str]:
    """All hashes that the tiers may have of some ids: in each domain, for ever and by quarter."""
    rules = [rules for vendor in vendor_names() for rules in rules_of(vendor).values()]
    domains = {treatment.hash for one in rules for treatment in one.columns.values() if treatment.hash is not None}
    years = range(_FIRST_YEAR, datetime.now(UTC).year + 2)
    keys = [key, *(key.of_epoch(f"{year}Q{quarter + 1}") for year in years for quarter in range(_QUARTERS))]
    return {one.hashed(domain, value) for one in keys for domain in domains for value in ids}


def rows_in_tiers(files: WarehouseFiles, ids: Collection[str], key: PseudonymKey) -> dict[str, Removed]:
    """Rows of each table of a tier in which a pseudonym of one of the ids stands, by `tier.schema.table`."""
    hashes = sorted(pseudonyms_in_tiers(ids, key))
    counts: dict[str, Removed] = {}
    for tier in Tier:
        if not tier.file(files).exists():
            continue
        with duckdb.connect(tier.file(files), read_only=True) as connection:
            prepare(connection)
            for name, columns in _texts(connection).items():
                condition = " OR ".join(f"{quoted(column)} IN (SELECT unnest($1::VARCHAR[]))" for column in columns)
                [(rows,)] = fetched(connection, f"SELECT count(*) FROM {name} WHERE {condition}", [hashes])
                if rows:
                    counts[f"{tier.value}.{name.replace(chr(34), '')}"] = Removed(rows=rows)
    return counts


def tiers_that_hold(files: WarehouseFiles, ids: Collection[str], key: PseudonymKey) -> list[str]:
    """Tables of the tiers in which one of the ids, or a pseudonym of one, still stands."""
    found = [f"{name} in the tiers" for name in rows_in_tiers(files, ids, key)]
    for tier in Tier:
        if tier.file(files).exists():
            with duckdb.connect(tier.file(files), read_only=True) as connection:
                prepare(connection)
                found += [f"{tier.file(files)}: {table}" for table in tables_that_hold(connection, ids)]
    return found


def _texts(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Columns of text of each table."""
    columns: dict[str, list[str]] = {}
    for schema, table, column in fetched(
        connection,
        "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND data_type = 'VARCHAR' AND NOT internal ORDER BY ALL",
    ):
        columns.setdefault(f"{quoted(schema)}.{quoted(table)}", []).append(column)
    return columns
