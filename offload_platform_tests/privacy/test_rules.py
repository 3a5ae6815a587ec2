"""Rules by column: whatever has none does not pass."""

import hashlib
import hmac
import re
from pathlib import Path

import polars as pl
import pytest

from offload_platform.landing.pseudonyms import KEY_VARIABLE, PseudonymKeyError
from offload_platform.privacy import rules as module
from offload_platform.privacy.rules import Rules, RulesError, key_for, read_rules, treated
from offload_platform.quality.protect import PseudonymKey

KEY, OTHER = PseudonymKey(b"k" * 32), PseudonymKey(b"o" * 32)
RULES = Rules.model_validate(
    {
        "description": "Messages:",
        "regions": ["ES"],
        "columns": {
            "user_id": "drop",
            "device": {"hash": "device"},
            "sent_at": "keep",
            "text": {"scrub": ["email", "phone"]},
        },
    }
)
FRAME = pl.DataFrame(
    {
        "text": ["write to ann@example.com", None],
        "user_id": ["u1", "u2"],
        "device": ["Jose\u0301", None],
        "sent_at": [1, 2],
    }
)


def digest(secret: bytes, said: str) -> str:
    return hmac.new(secret, said.encode(), hashlib.sha256).hexdigest()


def test_each_column_passes_as_its_rule_says() -> None:
    passed = treated(FRAME, RULES, KEY, known=FRAME.columns)
    assert passed.to_dict(as_series=False) == {
        "device": [digest(KEY.secret, "v1|device|José"), None],
        "sent_at": [1, 2],
        "text": ["write to idemail", None],
    }


def test_a_new_column_is_left_behind_and_a_known_one_without_a_rule_stops_everything() -> None:
    wider = FRAME.with_columns(phone=pl.lit("+34612345678"))
    assert treated(wider, RULES, KEY, known=FRAME.columns).columns == ["device", "sent_at", "text"]
    with pytest.raises(RulesError, match="no rule for phone"):
        treated(wider, RULES, KEY, known=wider.columns)


def test_a_rule_without_a_column_stops_everything() -> None:
    with pytest.raises(RulesError, match="sent_at"):
        treated(FRAME.drop("sent_at"), RULES, KEY)


def test_without_the_key_nothing_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(PseudonymKeyError, match="OFFLOAD_PSEUDONYM_KEY is not set"):
        key_for(RULES)
    with pytest.raises(RulesError, match="no key"):
        treated(FRAME, RULES, None)
    keyless = Rules.model_validate({"description": "Days", "columns": {"day": "keep"}})
    assert key_for(keyless) is None


def test_another_key_another_domain_and_another_epoch_make_other_hashes() -> None:
    made = {
        KEY.hashed("device", "a"),
        OTHER.hashed("device", "a"),
        KEY.hashed("user", "a"),
        KEY.of_epoch("2026Q4").hashed("device", "a"),
        KEY.of_epoch("2027Q1").hashed("device", "a"),
    }
    assert len(made) == 5
    assert KEY.hashed("device", "a") == digest(b"k" * 32, "v1|device|a")
    assert KEY.key_id != OTHER.key_id
    assert len(KEY.key_id) == 16


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("columns: {a: keep}", "x.yaml:1: description: is missing"),
        ("description: d\ncolumns:\n  a: keep\n  b: kept", "x.yaml:4: columns.b: unknown treatment 'kept'"),
        ("description: d\ncolumns: {a: {hash: device, scrub: [email]}}", "must be one of"),
        ("description: d\ncolumns: {a: {scrub: []}}", "must be one of"),
        ("description: d\ncolumns: {a: {hash: 'a|b'}}", "columns.a.hash"),
        ("description: d\ncolumns: {a: {scrub: [national_id]}}", "say in regions"),
        ("description: d\nregions: [XX]\ncolumns: {a: keep}", "unknown region 'XX'"),
        ("description: d\ndefault: keep\ncolumns: {a: keep}", "default: unknown field"),
    ],
)
def test_a_faulty_rule_file_is_told_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str
) -> None:
    folder = tmp_path / "acme" / "privacy"
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    with pytest.raises(RulesError, match=re.escape(fault)):
        read_rules("acme", "x")


def test_a_missing_rule_file_is_an_error() -> None:
    with pytest.raises(RulesError, match="no such rule file"):
        read_rules("acme", "nothing")
