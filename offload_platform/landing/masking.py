"""Rows as delivered for the eyes of operators: without what says whose rows they are.

Samples of rows reach logs and Dagster's storage, where no erasure finds them. So ids never get there: cells that
identify, cells that the contract does not know, and whatever is as long as an id are masked. The whole row is in
`ops.quarantine`.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from offload_platform.contracts.columns import Privacy
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import UnknownColumns

MASK = "•••"
NOT_KEPT = "(not kept, because its fields cannot be told apart, and some of them may hold personal data)"
NOT_SHOWN = "(not shown, because its fields cannot be told apart; see ops.quarantine)"
# Looked for from the beginning of each word alone: from each of its letters, a cell of a megabyte would take days.
_MAIL_OR_ADDRESS = re.compile(r"(?<![^\s,;|])[^\s,;|][^\s,;|@]*+@[^\s,;|]++|(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_LONG_AS_AN_ID = re.compile(r"[0-9A-Za-z_-]{20,}")


def mask_of(contract: Contract, columns: Sequence[str], delimiter: str) -> Callable[[str], str]:
    """What masks the rows of a part with these delivered columns; its `delimiter` is empty for JSON lines."""
    return _masking(_shown(contract), columns, delimiter, NOT_SHOWN, _LONG_AS_AN_ID)


def protection_of(contract: Contract, columns: Sequence[str], delimiter: str) -> Callable[[str], str] | None:
    """What takes out of broken rows, before they are kept, what the contract keeps nowhere; None where that is nothing.

    Columns that the contract does not know go as well: nobody can tell what is in them.
    """
    if not contract.protected_wire_columns:
        return None
    kept = contract.known_wire_columns - contract.protected_wire_columns
    return _masking(kept, columns, delimiter, NOT_KEPT, _MAIL_OR_ADDRESS)


def _shown(contract: Contract) -> AbstractSet[str]:
    """Delivered columns that an operator may see."""
    readers = [(c.facts.reader, c.facts.privacy is Privacy.IDENTIFIER) for c in contract.columns.values()]
    wires = [(r.wire, is_id) for r, is_id in readers if not isinstance(r, UnknownColumns) and r.wire is not None]
    identifying = {wire for wire, is_id in wires if is_id}
    return {wire for wire, _ in wires} - identifying - contract.protected_wire_columns


def _masking(
    shown: AbstractSet[str], columns: Sequence[str], delimiter: str, unreadable: str, never: re.Pattern[str]
) -> Callable[[str], str]:
    """What masks all but some columns of a row, and what is `never` shown in those; a row may be `unreadable`."""

    def mask_fields(raw: str) -> str:
        try:
            fields = next(csv.reader([raw], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return unreadable
        if len(fields) != len(columns):
            return unreadable
        row = io.StringIO()
        csv.writer(row, delimiter=delimiter, lineterminator="").writerow(
            _masked(field, column in shown, never) for field, column in zip(fields, columns, strict=True)
        )
        return row.getvalue()

    def mask_members(raw: str) -> str:
        try:
            members = json.loads(raw)
        except (ValueError, RecursionError):
            return unreadable
        if not isinstance(members, dict):
            return unreadable
        masked = {name: value if name in shown else MASK for name, value in members.items()}
        return never.sub(MASK, json.dumps(masked, ensure_ascii=False))

    return mask_fields if delimiter else mask_members


def _masked(field: str, is_shown: bool, never: re.Pattern[str]) -> str:
    # Of an empty cell it is told that it is empty.
    return never.sub(MASK, field) if is_shown or not field else MASK
