"""The places in a user's life: what each is for, how far from home, and what stands there."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a place is for."""

    HOME = 0
    WORK = 1
    SHOP = 2
    SCHOOL = 3
    SPORT = 4
    RESTAURANT = 5
    FRIEND = 6
    SIGHT = 7
    FUEL = 8
    AWAY = 9


@dataclass(frozen=True)
class Venue:
    """What stands at a place: its name, or none, and its kinds from general to specific."""

    name: str | None
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class RolePlaces:
    """The places of a user that serve one role.

    `nearest_km` and `farthest_km` bound the distance from the user's home, for `AWAY` from the centre of another
    city. `first_significance` is that of the first such place, `significance` that of the others.
    """

    role: Role
    count: int
    nearest_km: float
    farthest_km: float
    first_significance: str
    significance: str
    venues: tuple[Venue, ...]


_DWELLING = Venue(None, ("residential",))

ROLE_PLACES: tuple[RolePlaces, ...] = (
    RolePlaces(Role.HOME, 1, 0, 0, "home", "home", (_DWELLING,)),
    RolePlaces(
        Role.WORK,
        1,
        1,
        30,
        "work",
        "work",
        (
            Venue(None, ("office",)),
            Venue("kantoor de brug", ("office", "company")),
            Venue("meyer, jansen & co", ("office", "company", "lawyer")),
            Venue(None, ("industrial",)),
        ),
    ),
    RolePlaces(
        Role.SHOP,
        3,
        0.4,
        6,
        "regular",
        "nonregular",
        (
            Venue("buurtwinkel", ("shop", "food", "supermarket")),
            Venue("bäckerei am eck", ("shop", "food", "bakery")),
            Venue("the paper room", ("shop", "retail", "books")),
            Venue("el mercat", ("shop", "food", "marketplace")),
        ),
    ),
    RolePlaces(
        Role.SCHOOL,
        1,
        0.5,
        4,
        "regular",
        "regular",
        (Venue("basisschool de linde", ("education", "school")), Venue(None, ("education", "school", "kindergarten"))),
    ),
    RolePlaces(
        Role.SPORT,
        2,
        0.8,
        8,
        "regular",
        "nonregular",
        (
            Venue("sporthalle nord", ("sport", "activity", "fitness", "sportscentre")),
            Venue("piscine municipale", ("sport", "swimming")),
            Venue(None, ("sport", "pitch")),
        ),
    ),
    RolePlaces(
        Role.RESTAURANT,
        4,
        0.5,
        7,
        "regular",
        "nonregular",
        (
            Venue('café "le coin"', ("restaurant", "cafe")),
            Venue("trattoria da piero", ("restaurant", "italian")),
            Venue("chez nous, bar à soupe", ("restaurant", "fastfood")),
            Venue(None, ("restaurant",)),
        ),
    ),
    RolePlaces(Role.FRIEND, 3, 0.6, 25, "regular", "nonregular", (_DWELLING, Venue(None, ()))),
    RolePlaces(
        Role.SIGHT,
        14,
        1,
        40,
        "poi",
        "poi",
        (
            Venue("stadspark", ("leisure", "park")),
            Venue("kino lumen", ("leisure", "cinema")),
            Venue("museu d'art", ("culture", "museum")),
            Venue("gare centrale", ("travel", "publictransport", "railway", "train", "trainstation")),
            Venue("huisartsenpraktijk", ("health", "doctor")),
            Venue(None, ("leisure",)),
            Venue("sankt marien", ("religion", "church")),
        ),
    ),
    RolePlaces(
        Role.FUEL,
        2,
        0.7,
        12,
        "regular",
        "nonregular",
        (Venue("tankstelle süd", ("travel", "gasstation", "fuel")), Venue(None, ("travel", "gasstation", "fuel"))),
    ),
    RolePlaces(
        Role.AWAY,
        4,
        0.2,
        9,
        "nonregular",
        "nonregular",
        (
            Venue("hotel zur post", ("travel", "hotel")),
            Venue("congress centre", ("office", "conference")),
            Venue("aeroport", ("travel", "airport", "aerodrome")),
            Venue(None, ()),
        ),
    ),
)

FIRST_SLOT: tuple[int, ...] = tuple(sum(p.count for p in ROLE_PLACES[:role]) for role in range(len(ROLE_PLACES)))
SLOTS: int = sum(p.count for p in ROLE_PLACES)
HOME_SLOT = FIRST_SLOT[Role.HOME]
