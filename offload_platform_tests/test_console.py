"""What vendors have written commands no terminal, and is read as it is."""

import json

import pytest
from rich.markup import escape

from offload_platform.cli import console
from offload_platform.cli.console import print_json, table_of

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202eevil\u2066[red]x[/red]\r"
SHOWN = "\\x1b]0;title\\x1b[2J\\x9b31m\\x7f\\u202eevil\\u2066[red]x[/red]"


@pytest.mark.parametrize("stream", [console.stdout, console.stderr])
def test_signs_that_nobody_sees_are_spelled_out(stream: object, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(None, "what")
    table.add_row(escape(HOSTILE))
    for written in (escape(HOSTILE), table):
        stream.print(written, soft_wrap=True)  # type: ignore[attr-defined]
        out, err = capsys.readouterr()
        assert SHOWN in (out + err).replace(" ", "")


def test_our_own_colours_and_lines_stay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.stdout, "_force_terminal", True)
    monkeypatch.setattr(console.stdout, "_color_system", console.Console(color_system="standard")._color_system)
    console.stdout.print("[red]one[/red]\ntwo")
    assert capsys.readouterr().out == "\x1b[31mone\x1b[0m\ntwo\n"


def test_json_spells_them_out_as_json_does(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"é": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"é": HOSTILE}
    assert "é" in out
    assert all(sign.isprintable() or sign == "\n" for sign in out)
