"""Which driving days are to be simulated: the one object that a caller fills in."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from offload_platform.simulator.simulation import check_counts, check_paths, check_shares
from offload_platform.vendors.sentiance.layout import DRIVING, LAYOUT

DRIVING_TYPES: tuple[str, ...] = LAYOUT.families[DRIVING].types


class Vintage(StrEnum):
    """The vendor's samples, whose files have different columns."""

    SAMPLE_2017 = "2017"  # 13 columns of a drive, 7 of a score
    SAMPLE_2019 = "2019"  # 18 and 14
    SAMPLE_JUNE_2022 = "2022-06"  # 42, weather among them; events have an event_id
    SAMPLE_JULY_2022 = "2022-07"  # 24, without the weather


@dataclass(frozen=True)
class DrivingSimulation:
    """Which driving days to write.

    Attributes:
        seed: The same seed gives the same people as in a lifestyle simulation.
        users: Size of the population. A user drives about once a day.
        first_day: First data day: the UTC day on which the vendor processed what the day's folder holds. The same day
            gives the same delivery in any run that has the same other settings.
        days: How many data days to write.
        app_id: 24 hexadecimal digits.
        types: Offload types to write.
        users_per_part: Users whose rows make one part.
        faults: Share of all rows that are broken, each in one way.
        late_share: Share of drives that were processed one to four days after they ended.
        unscored_share: Share of drives without enough data: no events, and -1 for the scores that rest on them.
        events_per_drive: Mean number of events on other drives. One takes about 330 bytes.
        fixes_per_drive: Mean number of fixes of a drive that were matched to the road. One takes about 140 bytes.
        vintage: The sample whose columns are written.
        empty_days: Days on which nothing was processed: their folders hold markers alone.
        rerun_days: Days that were processed again: a second folder without some of the drives, with other scores and
            newer markers.
    """

    seed: int = 1
    users: int = 1_000
    first_day: date = date(2018, 12, 7)
    days: int = 1
    app_id: str = "5a689ab0e97b960500002109"
    types: tuple[str, ...] = DRIVING_TYPES
    users_per_part: int = 5_000
    faults: float = 0.0
    late_share: float = 0.03
    unscored_share: float = 0.04
    events_per_drive: int = 90
    fixes_per_drive: int = 100
    vintage: Vintage = Vintage.SAMPLE_JULY_2022
    empty_days: tuple[date, ...] = ()
    rerun_days: tuple[date, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        check_paths(self.app_id, self.types, DRIVING_TYPES)
        check_counts(self, "users", "days", "users_per_part", "events_per_drive", "fixes_per_drive")
        check_shares(self, "faults", "late_share", "unscored_share")
        for day in (*self.empty_days, *self.rerun_days):
            if day not in self.data_days:
                raise ValueError(f"{day} is not one of the days from {self.data_days[0]} to {self.data_days[-1]}")

    @property
    def data_days(self) -> tuple[date, ...]:
        """The data days, in order."""
        return tuple(self.first_day + timedelta(days=number) for number in range(self.days))
