"""The secret of the pseudonyms: it is in the environment and nowhere else."""

import os

from offload_platform.contracts.contract import Contract
from offload_platform.landing.errors import LandingError
from offload_platform.quality.protect import PseudonymKey
from offload_platform.quality.reading import Reading
from offload_platform.settings import Feed, Files, Pseudonyms

KEY_VARIABLE = "OFFLOAD_PSEUDONYM_KEY"
SHORTEST_KEY = 32
_NO_KEY_YET = "Make one (openssl rand -hex 32) and keep it safe, or write pseudonyms: dropped in the feed."


class PseudonymKeyError(LandingError):
    """The key of the pseudonyms is missing, too short, or another one; nothing is read without it."""


def reading_of(feed: Feed, contract: Contract) -> Reading:
    """How a feed's parts of an offload type are read.

    Raises:
        PseudonymKeyError: the contract keeps pseudonyms, and there is no usable key.
    """
    in_table_form = feed.files is Files.TABLE
    # In files of a table, ids are pseudonyms already.
    is_keyed = contract.needs_pseudonyms and feed.pseudonyms is Pseudonyms.KEYED and not in_table_form
    return Reading(
        zone=feed.source_timezone,
        columns=feed.columns.get(contract.offload_type, ()),
        key=key_from_environment(f"{feed.name} {contract.offload_type}: ", _NO_KEY_YET) if is_keyed else None,
        in_table_form=in_table_form,
    )


def key_from_environment(concerned: str, next_step: str) -> PseudonymKey:
    """The key in `OFFLOAD_PSEUDONYM_KEY`; the message says before what is `concerned`, and then what to do.

    Raises:
        PseudonymKeyError: there is none, or it is shorter than 32 characters.
    """
    secret = os.environ.get(KEY_VARIABLE, "")
    if len(secret) < SHORTEST_KEY:
        found = f"has {len(secret)} characters" if secret else "is not set"
        raise PseudonymKeyError(
            f"{concerned}{KEY_VARIABLE} {found}; the key of the pseudonyms has at least {SHORTEST_KEY} characters. "
            f"{next_step}"
        )
    return PseudonymKey(secret.encode())
