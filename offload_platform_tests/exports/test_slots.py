"""Slots, their names, and the partitions of Dagster that stand for them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_platform.exports.form import FREQUENCIES
from offload_platform.exports.slots import Cadence, changed, key_of, name_of, newest_slot, slot_after, slot_named
from offload_platform.orchestration.exporting import export_partitions

FIRST = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ZONES = st.sampled_from([ZoneInfo(name) for name in ("UTC", "Asia/Kolkata", "Etc/GMT+5", "Asia/Kathmandu")])
MINUTES = st.sampled_from(FREQUENCIES)


def slots_of(cadences: list[Cadence], until: datetime, zone: ZoneInfo) -> list[datetime]:
    slots, slot = [], cadences[0].after
    while (slot := slot_after(cadences, slot, zone)) <= until:
        slots.append(slot)
    return slots


@given(MINUTES, ZONES, st.lists(st.tuples(st.integers(0, 2 * 1440), MINUTES), max_size=4))
def test_changes_of_the_frequency_leave_no_gap_and_no_overlap(
    minutes: int, zone: ZoneInfo, changes: list[tuple[int, int]]
) -> None:
    """Each slot is on the grid of the frequency that holds, and no window is longer than the longer of two of them."""
    cadences = [Cadence(slot_after([Cadence(FIRST - 3 * DAY, minutes)], FIRST - DAY, zone), minutes)]
    now = cadences[0].after
    for later, wanted in sorted(changes):
        now = max(now, cadences[0].after + timedelta(minutes=later))
        before = slots_of(cadences, now, zone)
        cadences = changed(cadences, now, wanted, zone)
        assert slots_of(cadences, now, zone) == before, "what was due stays due"
    end = now + 3 * DAY
    slots = slots_of(cadences, end, zone)
    assert len(set(slots)) == len(slots)
    assert len({name_of(slot, zone) for slot in slots}) == len(slots)
    assert newest_slot(cadences, end, zone) == slots[-1]
    for earlier, later in zip([cadences[0].after, *slots], slots, strict=False):
        assert later - earlier <= timedelta(minutes=max(c.minutes for c in cadences))
    for slot in slots:
        local = slot.astimezone(zone)
        in_force = [c.minutes for c in cadences if c.after < slot][-1]
        assert (local.hour * 60 + local.minute) % in_force == 0
        assert slot_named(name_of(slot, zone), zone) == slot
        assert newest_slot(cadences, slot, zone) == slot


def test_a_key_has_the_folders_of_its_day() -> None:
    assert key_of(FIRST, "a/b", ZoneInfo("UTC")) == "a/b/2026/11/20/2026-11-20-10-00.csv.gz"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "+03:00"])
@pytest.mark.parametrize("minutes", [5, 12, 15, 60, 360, 1440])
def test_partition_keys_are_the_names_of_files(shop: Any, zone: str, minutes: int) -> None:
    now = datetime.now(UTC)
    export = shop.add(now - timedelta(minutes=3 * minutes), timezone=zone, frequency_minutes=minutes)
    slots = slots_of(list(export.cadences), now, export.form.zone)
    names = [name_of(slot, export.form.zone) for slot in slots]
    assert export_partitions(shop.registry, export).get_partition_keys() == names
    assert len(names) == 3
    assert len(shop.send(now + timedelta(minutes=1))) == 3
    assert shop.registry.newest_sent(export).key.endswith(f"/{names[-1]}.csv.gz")


def test_partitions_of_an_old_export_begin_with_what_is_not_sent_or_three_months_ago(shop: Any) -> None:
    now = datetime.now(UTC)
    export = shop.add(now - 200 * DAY, on_empty="skip", frequency_minutes=1440)
    assert len(export_partitions(shop.registry, export).get_partition_keys()) in (200, 201)
    shop.send(now - 10 * DAY)
    assert len(export_partitions(shop.registry, export).get_partition_keys()) in (92, 93)
