"""What is shown of a row tells nobody whose row it is."""

import json

import pytest

from offload_platform.landing.masking import NOT_SHOWN, mask_of

from ..conftest import contract_of

ANN = "a1" * 12
SEGMENTS = ("user_id", "metadata_user_id", "segment_id")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (f"{ANN},ann@example.com,early_bird", "•••,•••,early_bird"),
        (f'{ANN},"Ann, the first","a ""word"", and more"', '•••,•••,"a ""word"", and more"'),
        (f"{ANN},,early_bird", "•••,,early_bird"),
        (f"x,,early {ANN}", "•••,,early •••"),
        (f"{ANN},early_bird", NOT_SHOWN),
        (f"{ANN},,early_bird,", NOT_SHOWN),
        (f'"{ANN},,early_bird', NOT_SHOWN),
        ("", NOT_SHOWN),
    ],
)
def test_rows_in_csv(raw: str, shown: str) -> None:
    assert mask_of(contract_of("segments"), SEGMENTS, ",")(raw) == shown


def test_another_delimiter_and_a_column_that_nobody_knows() -> None:
    mask = mask_of(contract_of("segments"), (*SEGMENTS, "e_mail"), ";")
    assert mask(f"{ANN};;early_bird;ann@example.com") == "•••;;early_bird;•••"


@pytest.mark.parametrize("raw", ["{", "[1]", '"text"', f"{ANN},,x"])
def test_json_that_is_no_object_is_not_shown(raw: str) -> None:
    assert mask_of(contract_of("transports_realtime"), (), "")(raw) == NOT_SHOWN


def test_json_members() -> None:
    row = {"user_id": ANN, "metadata_user_id": "ann", "session_id": "s", "mode": f"CAR {ANN}", "nick": "Ann"}
    shown = json.loads(mask_of(contract_of("driving_events_realtime"), tuple(row), "")(json.dumps(row)))
    assert shown == {
        "user_id": "•••",
        "metadata_user_id": "•••",
        "session_id": "•••",
        "mode": "CAR •••" if "mode" in contract_of("driving_events_realtime").wire_columns else "•••",
        "nick": "•••",
    }
