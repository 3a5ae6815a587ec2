"""The secret of the pseudonyms: it is in the environment and nowhere else."""

import os

from offload_platform.contracts.contract import Contract
from offload_platform.landing.errors import LandingError
from offload_platform.quality.protect import PseudonymKey
from offload_platform.quality.reading import Reading
from offload_platform.settings import Feed, Files, Pseudonyms

KEY_VARIABLE = "OFFLOAD_PSEUDONYM_KEY"
SHORTEST_KEY = 32


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
        key=_key_from_environment(feed, contract) if is_keyed else None,
        in_table_form=in_table_form,
    )


def _key_from_environment(feed: Feed, contract: Contract) -> PseudonymKey:
    secret = os.environ.get(KEY_VARIABLE, "")
    if len(secret) < SHORTEST_KEY:
        found = f"has {len(secret)} characters" if secret else "is not set"
        raise PseudonymKeyError(
            f"{feed.name} {contract.offload_type}: {KEY_VARIABLE} {found}; the key of the pseudonyms has at least "
            f"{SHORTEST_KEY}. Make one (openssl rand -hex 32) and keep it safe, or write pseudonyms: dropped in the "
            "feed."
        )
    return PseudonymKey(secret.encode())
