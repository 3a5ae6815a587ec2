"""Contract of `mapping`: links between Sentiance's users and the client's own ids."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat, View
from offload_platform.contracts.readers import TextCell
from offload_platform.vendors.sentiance import shared_columns as shared
from offload_platform.vendors.sentiance.layout import MAPPING

_DOCUMENT = "Offloads document, section Mapping // User linking offloads"


class UserLinks(pa.DataFrameModel):
    """A link of a user to an id of the client, in one version of the file; a new phone may bring a new user."""

    user_id: types.Text = shared.user_id()
    external_id: types.Text = column(
        TextCell("external_id"),
        "The client's own id of the person; several users may share one.",
        source=_DOCUMENT,
        privacy=Privacy.IDENTIFIER,
    )
    extra: types.Json = shared.extra()

    class Config:
        strict = True


_VERSIONS = """
    SELECT feed, delivery_stamp, lead(delivery_stamp) OVER (PARTITION BY feed ORDER BY delivery_stamp) AS next_stamp,
        row_number() OVER (PARTITION BY feed ORDER BY delivery_stamp) AS version
    FROM (
        SELECT DISTINCT feed, delivery_stamp FROM ops.ledger
        WHERE vendor = 'sentiance' AND offload_type = 'mapping' AND status = 'loaded'
    )
"""

_CURRENT = View(
    name="user_links",
    description="The links that hold now: those of the newest version of the mapping file of each feed.",
    sql=f"""
        WITH versions AS ({_VERSIONS})
        SELECT feed, user_id, external_id, delivery_stamp AS known_at
        FROM {{table}} SEMI JOIN (FROM versions WHERE next_stamp IS NULL) USING (feed, delivery_stamp)
        GROUP BY ALL
    """,
    columns={"known_at": "Last change of the newest version of the file (UTC)."},
)

_HISTORY = View(
    name="user_link_history",
    description="Every link that ever held, with the versions of the mapping file between which it did.",
    sql=f"""
        WITH versions AS ({_VERSIONS}),
        held AS (
            SELECT DISTINCT feed, user_id, external_id, version, delivery_stamp, next_stamp
            FROM {{table}} JOIN versions USING (feed, delivery_stamp)
        ),
        runs AS (
            SELECT *, version - row_number() OVER (
                PARTITION BY feed, user_id, external_id ORDER BY version
            ) AS run
            FROM held
        )
        SELECT feed, user_id, external_id, min(delivery_stamp) AS known_from,
            CASE WHEN bool_and(next_stamp IS NOT NULL) THEN max(next_stamp) END AS known_to
        FROM runs GROUP BY feed, user_id, external_id, run
    """,
    columns={
        "known_from": "Last change of the first version of the file that holds the link (UTC).",
        "known_to": "Last change of the first later version that lacks it (UTC); null while it holds.",
    },
)

_CONFLICTS = View(
    name="user_link_conflicts",
    description="Users that the newest version of the mapping file links to more than one id of the client.",
    sql="""
        SELECT feed, user_id, list(external_id ORDER BY external_id) AS external_ids
        FROM sentiance.user_links GROUP BY feed, user_id HAVING count(*) > 1
    """,
    columns={"external_ids": "The ids of the client, in alphabetical order. Privacy: identifier."},
)

CONTRACT = Contract(
    vendor="sentiance",
    offload_type="mapping",
    family=MAPPING,
    rows=UserLinks,
    content=Content.REGISTER,
    key=("app_id", "user_id"),
    source=_DOCUMENT,
    wire=CsvFormat(ordered=False, compression=None),
    views=(_CURRENT, _HISTORY, _CONFLICTS),
)
