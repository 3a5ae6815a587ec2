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


_CONFLICTS = View(
    name="user_link_conflicts",
    description="Users that the newest version of the mapping file links to more than one id of the client.",
    sql="""
        SELECT feed, user_id, list(external_id ORDER BY external_id) AS external_ids
        FROM {table} GROUP BY feed, user_id HAVING count(*) > 1
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
    identified_by=("user_id", "external_id"),
    source=_DOCUMENT,
    wire=CsvFormat(ordered=False, compression=None),
    views=(_CONFLICTS,),
)
