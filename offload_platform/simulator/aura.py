"""Writes the logs of a digital assistant: messages, what they were taken to mean, and calls, several files a day.

A file is named by the end of the hours that it tells of, so that the last rows of a day come in a file of the next one.
Everything follows from the seed, the user and the day. Texts name people, addresses and numbers as users do; what must
stay out of everything that is made of the logs is written beside them, as canaries.
"""

import csv
import gzip
import io
import random
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

from offload_platform.simulator.manifest import Manifest
from offload_platform.simulator.parts import Written
from offload_platform.simulator.simulation import check_counts, check_shares
from offload_platform.vendors.aura.layout import TYPES

MESSAGE, RECOGNIZER, API = TYPES

_CHANNELS = ("whatsapp", "directline", "directline.tv", "auraline")
_SUBSCRIPTIONS = ("PREPAID", "POSTPAID", "CONTROL", "")
_VERSIONS = ("8.2.0", "8.3.0")
_RECOGNIZERS = ("grammar", "classifier")
_INTENTS = ("bill.check", "data.usage", "tv.search", "support.human", "greeting")
_QUESTIONS = ("how much is my bill", "how much data is left", "find me a film", "i want to talk to somebody", "hello")
_ANSWERS = ("here it is", "you have 3 GB left", "what about this one", "one moment", "hello, what can i do for you")
_FAILURES = (("500", "backend.timeout"), ("404", "intent.unknown"))
_TELLING = (
    "my mail is {mail}",
    "call me at {phone}",
    "pay with {card}",
    "my passport is {passport}",
    "my account is {iban}",
)
_HOUR = timedelta(hours=1)
_EPOCH = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class LogSimulation:
    """Which logs to write.

    Attributes:
        seed: Another seed gives other people.
        first_day: The first day of conversations (UTC).
        days: For how many days people talk.
        users: How many there are.
        files_per_day: How many files each entity has for a day.
        talks_per_day: Conversations of a user on a day, on average.
        anonymous_share: Share of the conversations without a login.
        test_share: Share of the users who test the assistant.
        telling_share: Share of the messages in which users tell addresses and numbers of theirs.
        failed_share: Share of the requests that fail.
        country: ISO 3166, as it is written.
    """

    seed: int = 1
    first_day: date = date(2026, 9, 7)
    days: int = 1
    users: int = 40
    files_per_day: int = 4
    talks_per_day: float = 1.0
    anonymous_share: float = 0.1
    test_share: float = 0.1
    telling_share: float = 0.1
    failed_share: float = 0.05
    country: str = "BE"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        check_counts(self, "days", "users", "files_per_day")
        check_shares(self, "anonymous_share", "test_share", "telling_share", "failed_share")
        if 24 % self.files_per_day:
            raise ValueError("files_per_day must divide the 24 hours of a day")


@dataclass(frozen=True)
class Person:
    """A user of the assistant, and what nobody but the operating business may know."""

    number: int
    user_id: str
    phone: str
    is_tester: bool

    @cached_property
    def told(self) -> Mapping[str, str]:
        """What the person may tell in a message, by kind."""
        chance = random.Random(f"{self.user_id}/told")
        card = f"4{chance.randrange(10**14):014d}"
        account = f"{chance.randrange(10**10):010d}"
        bank = f"{account}{int(account) % 97 or 97:02d}"
        # The check digits of a Belgian IBAN: B, E and two zeros behind the account, as a number.
        check = 98 - int(f"{bank}111400") % 97
        return {
            "mail": f"anna{self.number}.{chance.randrange(10**4):04d}@example.com",
            "phone": self.phone,
            "card": card + _luhn(card),
            "passport": f"{chance.choice('EABCDFGH')}{chance.choice('KLMNPQRS')}{chance.randrange(10**6):06d}",
            "iban": f"BE{check:02d}{bank}",
        }


@dataclass(frozen=True)
class AssistantLogs:
    """The files of a simulation."""

    simulation: LogSimulation
    types: tuple[str, ...] = TYPES

    @property
    def deliveries(self) -> int:
        """Files of all entities."""
        return self.simulation.days * self.simulation.files_per_day * len(self.types)

    def parts(self, out: Path, manifest: Manifest) -> Iterator[Written]:
        """Write all files, and the canaries beside them."""
        manifest.add_canaries(canaries(self.simulation))
        for entity, stamp, rows in uploads(self.simulation):
            if entity in self.types:
                path = out / key_of(entity, stamp)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content_of(entity, stamp, rows))
                yield Written(key_of(entity, stamp), entity, stamp, len(rows), 0, path.stat().st_size)


def people(simulation: LogSimulation) -> list[Person]:
    """All users."""
    found = []
    for number in range(simulation.users):
        chance = random.Random(f"{simulation.seed}/user/{number}")
        found.append(
            Person(
                number,
                f"ob-{chance.getrandbits(64):016x}",
                f"+324{chance.randrange(70, 100)}{chance.randrange(10**6):06d}",
                chance.random() < simulation.test_share,
            )
        )
    return found


def canaries(simulation: LogSimulation) -> dict[str, list[str]]:
    """What must not be found in anything that leaves the operating business, by kind."""
    found: dict[str, list[str]] = {"user": [], "login": sorted(_logins(simulation))}
    for person in people(simulation):
        found["user"].append(person.user_id)
        for kind, value in person.told.items():
            found.setdefault(kind, []).append(value)
    return found


def uploads(simulation: LogSimulation) -> Iterator[tuple[str, datetime, list[dict[str, str]]]]:
    """Every file in the order of its stamp: entity, stamp (UTC), and rows as texts by column."""
    hours = 24 // simulation.files_per_day
    rows: dict[tuple[datetime, str], list[dict[str, str]]] = {}
    first = _begin(simulation)
    for entity, at, row in sorted(_rows(simulation), key=lambda found: found[1]):
        slot = (at - first) // (hours * _HOUR) + 1
        rows.setdefault((first + slot * hours * _HOUR, entity), []).append(row)
    last = max([stamp for stamp, _ in rows], default=first)
    slots = (last - first) // (hours * _HOUR)
    for slot in range(1, slots + 1):
        stamp = first + slot * hours * _HOUR
        for entity in TYPES:
            yield entity, stamp, rows.get((stamp, entity), [])


def key_of(entity: str, stamp: datetime) -> str:
    """The key of a file, below the root; one entity is zipped, one gzipped, one plain."""
    name = f"{entity.upper()}/{stamp:%Y%m}/{entity.upper()}_{stamp:%Y%m%dT%H%M%S}Z"
    return name + {MESSAGE: ".txt.zip", RECOGNIZER: ".csv.gz", API: ".csv"}[entity]


def content_of(entity: str, stamp: datetime, rows: list[dict[str, str]]) -> bytes:
    """The bytes of a file; equal rows are equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(entity), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    if entity == API:
        return content
    if entity == RECOGNIZER:
        return gzip.compress(content, mtime=0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{MESSAGE.upper()}_{stamp:%Y%m%dT%H%M%S}Z.txt", _EPOCH), content)
    return packed.getvalue()


def columns_of(entity: str) -> list[str]:
    """The delivered columns of an entity, in order."""
    simulation = LogSimulation()
    talk = _Talk(simulation, people(simulation)[0], _begin(simulation), random.Random(0))
    return {
        MESSAGE: list(talk.message("", "receive", "")),
        RECOGNIZER: list(talk.recognition("", "")),
        API: list(talk.call("")),
    }[entity]


class _Talk:
    """A conversation, which goes on from request to request."""

    def __init__(self, simulation: LogSimulation, person: Person, at: datetime, chance: random.Random) -> None:
        self.simulation = simulation
        self.person = person
        self.at = at
        self.chance = chance
        self.login = "" if chance.random() < simulation.anonymous_share else _uuid(chance)
        self.channel = chance.choice(_CHANNELS)
        self.version = chance.choice(_VERSIONS)
        self.request = _uuid(chance)
        self.status, self.reason = "200", ""

    def rows(self) -> Iterator[tuple[str, datetime, dict[str, str]]]:
        for _ in range(self.chance.randint(1, 6)):
            self.request = _uuid(self.chance)
            is_failed = self.chance.random() < self.simulation.failed_share
            self.status, self.reason = self.chance.choice(_FAILURES) if is_failed else ("200", "")
            topic = self.chance.randrange(len(_INTENTS))
            question = _QUESTIONS[topic]
            if self.chance.random() < self.simulation.telling_share:
                question += ", " + self.chance.choice(_TELLING).format_map(self.person.told)
            yield MESSAGE, self.at, self.message(question, "receive", "")
            for recognizer in _RECOGNIZERS:
                self.at += timedelta(milliseconds=self.chance.randint(50, 400))
                yield RECOGNIZER, self.at, self.recognition(recognizer, _INTENTS[topic], question)
            yield API, self.at, self.call(self.status)
            self.at += timedelta(milliseconds=self.chance.randint(100, 900))
            yield MESSAGE, self.at, self.message(_ANSWERS[topic], "send", str(self.chance.randint(150, 2500)))
            self.at += timedelta(seconds=self.chance.randint(5, 900))

    def message(self, text: str, action: str, duration: str) -> dict[str, str]:
        return {
            **self._head(MESSAGE, action),
            "SUBSCRIPTION_CD": _SUBSCRIPTIONS[self.person.number % len(_SUBSCRIPTIONS)],
            **self._tail(duration),
            "MESSAGE": text,
        }

    def recognition(self, recognizer: str, intent: str, text: str = "") -> dict[str, str]:
        return {
            **self._head(RECOGNIZER, "recognize"),
            **self._tail(str(self.chance.randint(20, 300))),
            "SCORE_NU": f"{self.chance.random():.3f}",
            "RECOGNIZER": recognizer,
            "INTENT": intent,
            "MESSAGE": text,
        }

    def call(self, status: str) -> dict[str, str]:
        url = f"https://api.example.com/users/{self.person.user_id}/bill"
        return {**self._head(API, "send"), "STATUS_CD": status, "URL": url}

    def _head(self, entity: str, action: str) -> dict[str, str]:
        short = {MESSAGE: "MSG", RECOGNIZER: "RECOGNIZER", API: "API"}[entity]
        return {
            "USER_ID": self.person.user_id,
            f"{short}_DT": f"{self.at:%Y-%m-%dT%H:%M:%S}.{self.at.microsecond // 1000:03d}Z",
            f"{short}_ID": _uuid(self.chance),
            "ACTION_CD": action,
            "AURA_ID": self.login,
            "PHONE_ID": self.person.phone,
            "CHANNEL_CD": self.channel,
            "DOMAIN_CD": "",
            "CATEGORY_CD": "",
            "COUNTRY_CD": self.simulation.country,
            "CORR_ID": self.request,
            "IS_CACHED": "false",
            "STATUS_CD": self.status,
            "REASON": self.reason,
        }

    def _tail(self, duration: str) -> dict[str, str]:
        return {"VERSION_ID": self.version, "LANG_CD": "nl-be", "TZ_CD": "+01:00", "DURATION_NU": duration}


def _talks(simulation: LogSimulation) -> Iterator[_Talk]:
    """All conversations; some begin so late that they go on after midnight."""
    for person in people(simulation):
        for day in range(simulation.days):
            chance = random.Random(f"{simulation.seed}/{person.number}/{day}")
            talks = int(simulation.talks_per_day) + (chance.random() < simulation.talks_per_day % 1)
            for _ in range(talks):
                begin = _begin(simulation) + timedelta(days=day, seconds=chance.randrange(6 * 3600, 24 * 3600))
                yield _Talk(simulation, person, begin, chance)


def _rows(simulation: LogSimulation) -> Iterator[tuple[str, datetime, dict[str, str]]]:
    for talk in _talks(simulation):
        yield from talk.rows()


def _logins(simulation: LogSimulation) -> set[str]:
    logins = set()
    for talk in _talks(simulation):
        # What follows in a day is drawn from the same chances: a conversation must run its course.
        for _ in talk.rows():
            logins.add(talk.login)
    return logins - {""}


def _begin(simulation: LogSimulation) -> datetime:
    return datetime.combine(simulation.first_day, time(), UTC)


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _luhn(digits: str) -> str:
    """The check digit of a card's number."""
    doubled = [int(digit) * (2 - number % 2) for number, digit in enumerate(reversed(digits))]
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)
