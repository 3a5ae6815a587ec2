"""Forms: what can be known without the store is told with file, line and field."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from offload_platform.exports.errors import ExportError
from offload_platform.exports.form import EXAMPLE, ExportForm, read_form
from offload_platform.settings import SettingsError

GOOD: dict[str, Any] = {
    "name": "acme",
    "source": {"table": "shop.conversions", "key": ["id"]},
    "bucket": "clients",
    "directory": "out",
}


def complaint(tmp_path: Path, **said: Any) -> str:
    file = tmp_path / "form.yaml"
    file.write_text(yaml.safe_dump(GOOD | said, sort_keys=False), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_form(file)
    return str(caught.value).removeprefix(f"{file}:")


def test_the_example_is_a_form() -> None:
    form, sql = read_form(Path(__file__).parents[2] / EXAMPLE)
    assert (form.name, form.frequency_minutes, form.timezone, sql) == ("acme_trips", 15, "UTC", None)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"frequency": 15}, "8: frequency: unknown field; check its spelling against export.example.yaml"),
        ({"frequency_minutes": 7}, "8: frequency_minutes: must be one of 5, 6, 10, 12, 15, 20, 30, 60"),
        ({"frequency_minutes": 45}, "8: frequency_minutes: must be one of"),
        ({"access_key": "AKIA123", "secret_key": "env:S"}, "8: access_key: holds a secret"),
        ({"secret_key": "env:S"}, "access_key and secret_key belong together"),
        ({"access_key": "env:A", "secret_key": "env:S", "aws_profile": "p"}, "name either access_key and secret_key"),
        ({"endpoint_url": "https://me:word@host"}, "8: endpoint_url: must hold no credentials"),
        ({"bucket": "s3://clients/out"}, "6: bucket: must be the bare name of a bucket"),
        ({"directory": "a/../b"}, "7: directory: must be a path inside the bucket"),
        ({"timezone": "Europe/Berlin"}, "8: timezone: has summer time, so that one hour a year comes twice"),
        ({"timezone": "Mars/Base"}, "8: timezone: must be UTC, an offset of whole hours"),
        ({"settle_seconds": 900}, "settle_seconds must be less than the time between two files"),
        ({"backfill_from": "2026-11-01"}, "backfill_from needs source.change_time"),
        ({"columns": ["id", "id"]}, "columns: names id twice"),
        ({"columns": ["status"]}, "columns lacks id of the key"),
        ({"source": {"key": ["id"]}}, "2: source: name either a table (schema.name) or a sql_file"),
        ({"source": {"table": "shop.conversions", "key": []}}, "4: source.key: "),
        ({"source": {"sql_file": "none.sql", "key": ["id"]}}, "none.sql cannot be read"),
        ({"name": "Acme conversions"}, "1: name: "),
    ],
)
def test_faults_are_told_with_line_and_field(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    told = complaint(tmp_path, **said)
    assert message in told
    assert "AKIA123" not in told
    assert "word" not in told


def test_a_missing_form_names_the_example(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such file\. Copy export\.example\.yaml to .* and fill it in\.$"):
        read_form(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("said", "zone"), [("UTC", "UTC"), ("+00:00", "UTC"), ("+03:00", "Etc/GMT-3"), ("-05:00", "Etc/GMT+5")]
)
def test_offsets_are_zones(said: str, zone: str) -> None:
    assert ExportForm.model_validate(GOOD | {"timezone": said}).timezone == zone


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/Bogota", "Africa/Lagos"])
def test_zones_without_summer_time_are_taken(zone: str) -> None:
    assert ExportForm.model_validate(GOOD | {"timezone": zone}).timezone == zone


@pytest.mark.parametrize("zone", ["Africa/Casablanca", "Australia/Lord_Howe", "America/New_York"])
def test_zones_whose_offset_changes_are_refused(zone: str) -> None:
    with pytest.raises(ValidationError, match="has summer time"):
        ExportForm.model_validate(GOOD | {"timezone": zone})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"source": {"table": "shop.none", "key": ["id"]}}, "shop.none cannot be read: Catalog Error"),
        ({"source": {"table": "shop.conversions", "key": ["nr"]}, "columns": None}, "source.key: shop.conversions has"),
        ({"columns": ["id", "payout"]}, "columns: shop.conversions has no column payout; it has id, status, revenue"),
        ({"columns": None}, "columns: name them: what the columns of shop.conversions are about is not known"),
        ({"filters": {"revenue": ["much"]}}, r"filters.revenue: 'much' is no DECIMAL\(18,4\)"),
        (
            {"source": {"table": "shop.conversions", "key": ["id"], "change_time": "status"}},
            "source.change_time: status is VARCHAR, no time",
        ),
        (
            {"source": {"table": "shop.conversions", "key": ["status"]}},
            "source.key: status does not tell the rows of shop.conversions apart: 2 rows have 1 keys",
        ),
        ({"source": {"table": "shop.conversions", "key": ["changed_at", "id"]}}, "1 rows of .* have no value in"),
    ],
)
def test_a_source_that_does_not_fit_is_not_saved(shop: Any, said: dict[str, Any], message: str) -> None:
    shop.put(("a", "hold", "1", None), ("b", "hold", "1", None))
    if "changed_at" in said.get("source", {}).get("key", ()):
        shop.remove("b")
    with pytest.raises(ExportError, match=message):
        shop.add(**said)
    assert shop.registry.all() == []


@pytest.mark.parametrize("sql", ["SELECT 1 AS id; SELECT 2 AS id", "CREATE TABLE t (id INT)", "COPY (SELECT 1) TO 'x'"])
def test_a_query_is_one_select(shop: Any, sql: str) -> None:
    with pytest.raises(ExportError, match="must hold one SELECT and nothing else"):
        shop.add(source={"sql_file": "q.sql", "key": ["id"]}, columns=["id"], sql=sql)
