"""Ways in which a JSON line can be broken, each with the reason that the platform must give."""

from collections.abc import Callable

from offload_platform.simulator.faults import NOT_UTF8, Broken, Fault, Row, cell_fault

_NO_OBJECT = "not a JSON object"
_KEPT_OF_A_CUT_LINE = (0.1, 0.5, 0.9)


def _cut_off(row: Row) -> Broken:
    line = row.line
    return Broken(line[: int(len(line) * _KEPT_OF_A_CUT_LINE[row.turn % len(_KEPT_OF_A_CUT_LINE)])], _NO_OBJECT)


def _unclosed(row: Row) -> Broken:
    return Broken(row.line[:-1], _NO_OBJECT)


def _two_objects(row: Row) -> Broken:
    return Broken(row.line + row.line, _NO_OBJECT)


def _unquoted_name(row: Row) -> Broken:
    return Broken(row.line.replace('"user_id"', "user_id", 1), _NO_OBJECT)


def _with_mark(mark: str) -> Callable[[Row], Broken]:
    reason = "not UTF-8" if mark == NOT_UTF8 else "NUL byte"

    def broken(row: Row) -> Broken:
        text = row.cells["user_id"]
        return Broken(row.with_cell("user_id", text[:9] + mark + text[9:]), reason)

    return broken


def _without_offset(time: str) -> str:
    return time[:20] + '"'


def _with_impossible_minute(time: str) -> str:
    return f"{time[:15]}85{time[17:]}"


def _too_short(user_id: str) -> str:
    return user_id[:20] + '"'


JSON_FAULTS: tuple[Fault, ...] = (
    Fault("JSON: cut off", _cut_off),
    Fault("JSON: not closed", _unclosed),
    Fault("JSON: two objects", _two_objects),
    Fault("JSON: name without quotes", _unquoted_name),
    Fault("not UTF-8", _with_mark(NOT_UTF8)),
    Fault("NUL byte", _with_mark("\0")),
    *(
        cell_fault(
            bound, f"{bound}_at: not a time with an offset", _without_offset, _with_impossible_minute, '"n/a"', "17"
        )
        for bound in ("start", "end")
    ),
    cell_fault("behavior_events", "events: not a list of objects", "[]", '"none"', "[1, 2]", "7"),
    cell_fault("mapped_waypoints", "fixes: not a list of objects", "{}", '"none"', "7"),
    cell_fault("user_id", "user_id: str_matches('^[0-9a-f]{24}$')", _too_short),
    cell_fault("mode", "mode: not_nullable", '""', "null"),
)
"""All kinds of faults. Those of a member are named like their reason; they fit the types that deliver it."""
