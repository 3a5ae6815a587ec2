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

from offload_platform.contracts.columns import Privacy
from offload_platform.contracts.contract import Contract
from offload_platform.contracts.readers import UnknownColumns

MASK = "•••"
NOT_SHOWN = "(not shown, because its fields cannot be told apart; see ops.quarantine)"
_LONG_AS_AN_ID = re.compile(r"[0-9A-Za-z_-]{20,}")


def mask_of(contract: Contract, columns: Sequence[str], delimiter: str) -> Callable[[str], str]:
    """What masks the rows of a part with these delivered columns; its `delimiter` is empty for JSON lines."""
    readers = [(c.facts.reader, c.facts.privacy is Privacy.IDENTIFIER) for c in contract.columns.values()]
    wires = [(reader.wire, is_id) for reader, is_id in readers if not isinstance(reader, UnknownColumns)]
    shown = {wire for wire, _ in wires} - {wire for wire, is_id in wires if is_id}

    def mask_fields(raw: str) -> str:
        try:
            fields = next(csv.reader([raw], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return NOT_SHOWN
        if len(fields) != len(columns):
            return NOT_SHOWN
        row = io.StringIO()
        csv.writer(row, delimiter=delimiter, lineterminator="").writerow(
            _masked(field, column in shown) for field, column in zip(fields, columns, strict=True)
        )
        return row.getvalue()

    def mask_members(raw: str) -> str:
        try:
            members = json.loads(raw)
        except ValueError:
            return NOT_SHOWN
        if not isinstance(members, dict):
            return NOT_SHOWN
        masked = {name: value if name in shown else MASK for name, value in members.items()}
        return _LONG_AS_AN_ID.sub(MASK, json.dumps(masked, ensure_ascii=False))

    return mask_fields if delimiter else mask_members


def _masked(field: str, is_shown: bool) -> str:
    # Of an empty cell it is told that it is empty.
    return _LONG_AS_AN_ID.sub(MASK, field) if is_shown or not field else MASK
