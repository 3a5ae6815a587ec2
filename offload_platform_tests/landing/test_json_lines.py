"""JSON lines: each line stands for itself."""

from offload_platform.landing.json_lines import parse
from offload_platform.landing.records import Block
from offload_platform.quality.json_cells import JsonCells


def parsed(content: bytes) -> tuple[list[dict[str, object]], list[tuple[object, ...]], int, tuple[str, ...]]:
    with JsonCells() as json_cells:
        records, columns = parse(Block(content, 1), json_cells, "part")
    assert records.lines == Block(content, 1).lines
    return records.rows.to_dicts(), records.rejected.rows(), records.blank, columns


def test_members_become_text_by_name() -> None:
    rows, rejected, blank, columns = parsed(
        b'{"a": "x", "b": 1.5, "c": {"d": [1, 2]}}\r\n{"a": "", "e.f": null, "g": true}\n'
    )
    assert rows == [
        {"line": 1, "wire:a": "x", "wire:b": "1.5", "wire:c": '{"d":[1,2]}', "wire:e.f": None, "wire:g": None},
        {"line": 2, "wire:a": None, "wire:b": None, "wire:c": None, "wire:e.f": None, "wire:g": "true"},
    ]
    assert (rejected, blank, columns) == ([], 0, ("a", "b", "c", "e.f", "g"))


def test_a_broken_line_costs_only_itself() -> None:
    content = b'{"a": 1}\n{"a": \n[1]\n\n"x"\n{"a": "\xff"}\n{"a": "\x00"}\n{"a": 2}'
    rows, rejected, blank, _ = parsed(content)
    assert [(row["line"], row["wire:a"]) for row in rows] == [(1, "1"), (8, "2")]
    assert rejected == [
        (2, ["not a JSON object"], '{"a": '),
        (3, ["not a JSON object"], "[1]"),
        (5, ["not a JSON object"], '"x"'),
        (6, ["not UTF-8"], '{"a": "\\xff"}'),
        (7, ["NUL byte"], '{"a": "\\x00"}'),
    ]
    assert blank == 1


def test_names_are_taken_literally() -> None:
    rows, *_ = parsed(b'{"a\\"b": 1, "$.x": 2, "it\'s": 3, "back\\\\slash": 4}\n')
    assert rows == [{"line": 1, 'wire:a"b': "1", "wire:$.x": "2", "wire:it's": "3", "wire:back\\slash": "4"}]


def test_a_block_without_any_object_has_no_columns() -> None:
    rows, rejected, blank, columns = parsed(b"x\n\n")
    assert (rows, len(rejected), blank, columns) == ([], 1, 1, ())
