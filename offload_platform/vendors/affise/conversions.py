"""Contract of `conversions`: what followed on a click, and what it is worth. Any of them may change weeks later."""

from decimal import Decimal
from typing import Any

import pandera.polars as pa
import polars as pl

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat, Decisions, Reference
from offload_platform.contracts.readers import Computed, DecimalCell, TextCell, delivered
from offload_platform.vendors.affise import shared_columns as shared
from offload_platform.vendors.affise.layout import DATA_FUSION
from offload_platform.vendors.affise.vocabulary import (
    DECLINE_REASONS,
    FRAUD_RISKS,
    PAYMENT_STATUSES,
    PAYMENT_TYPES,
    STATUS_NAMES,
    STATUSES,
)

# Of how many days the clicks of a conversion are looked for.
_DAYS_TO_CONVERT = 30
_CENT = Decimal("0.01")


def _money(wire: str, description: str, *, expected: bool = False) -> Any:
    return column(
        DecimalCell(wire),
        description,
        unit="currency",
        source=shared.INTERFACE,
        privacy=Privacy.NONE,
        expected=expected,
        nullable=True,
    )


def _status() -> pl.Expr:
    word = delivered("status").str.to_lowercase().str.strip_chars()
    return word.replace(STATUSES)


class Conversions(pa.DataFrameModel):
    """A conversion: what a user did at the advertiser after a click, and what is due for it."""

    conversion_id: types.Text = shared.object_id("id", "conversion")
    click_id: types.Text = column(
        TextCell("click_id", lower=True),
        "Click that it followed on; null for some that were imported.",
        source=shared.INTERFACE,
        privacy=Privacy.IDENTIFIER,
        expected=False,
        nullable=True,
    )
    action_id: types.Text = shared.scrubbed("action_id", "The advertiser's own id of the action")
    cbid: types.Text = shared.scrubbed("cbid", "Id for the advertiser's callback")
    status: types.Text = column(
        Computed(_status, wire="status"),
        "Status in one word: confirmed is payable, pending waits for a person, hold for its time, declined is invalid.",
        source="help-center.affise.com, article 6618579",
        privacy=Privacy.NONE,
        enumeration=STATUS_NAMES,
    )
    status_raw: types.Text = column(
        TextCell("status"), "Status as delivered, a word or a code.", source=shared.INTERFACE, privacy=Privacy.NONE
    )
    created_at: types.Instant = shared.moment("created_at", "When it was recorded", nullable=False)
    updated_at: types.Instant = shared.moment("updated_at", "When it was last changed")
    changed_at: types.Instant = column(
        Computed(lambda: pl.coalesce("updated_at", "created_at"), wire="created_at"),
        "When it was last changed, or recorded where no change is told (UTC instant). The latest change counts.",
        source=shared.INTERFACE,
        privacy=Privacy.BEHAVIOUR,
    )
    click_time: types.Instant = shared.moment("click_time", "When the link was clicked")
    hold_until: types.Instant = shared.moment("hold_date_expire", "Until when it is on hold")
    offer_id: types.Text = column(
        TextCell("offer_id"), "Id of the offer.", source=shared.INTERFACE, privacy=Privacy.NONE, nullable=True
    )
    offer_title: types.Text = shared.text("offer_title", "Name of the offer.")
    offer_mongo_id: types.Text = shared.text("offer_mongo_id", "Internal id of the offer.")
    advertiser_id: types.Text = shared.text("advertiser_id", "Id of the advertiser (supplier).")
    advertiser_title: types.Text = shared.scrubbed("advertiser_title", "Name of the advertiser")
    partner_id: types.Text = column(
        TextCell("partner_id"),
        "Id of the partner (affiliate) who is paid.",
        source=shared.INTERFACE,
        privacy=Privacy.NONE,
        nullable=True,
    )
    partner_title: types.Text = shared.scrubbed("partner_title", "Company of the partner")
    goal: types.Text = shared.text("goal", "Name of the goal that was reached.")
    goal_value: types.Text = shared.text("goal_value", "Value of the goal.")
    revenue: types.Money = _money("revenue", "What the advertiser pays.", expected=True)
    payout: types.Money = _money("payouts", "What the partner is paid.", expected=True)
    earnings: types.Money = _money("earnings", "What is left: revenue less payout.")
    sum: types.Money = _money("sum", "Sum of the sale.")
    price: types.Money = _money("price", "Price of the sale, on which percentages are worked out.")
    charge: types.Money = _money("charge", "Further charge.")
    currency: types.Text = shared.text("currency", "Currency of all amounts, ISO 4217.")
    currency_id: types.Text = shared.text("currency_id", "Id of the currency.")
    payment_type: types.Text = shared.text(
        "payment_type", "Whether a fixed amount is paid or a share.", enumeration=PAYMENT_TYPES, lower=True
    )
    payment_status: types.Text = shared.text(
        "payment_status", "How far the payment is.", enumeration=PAYMENT_STATUSES, lower=True
    )
    is_paid: types.Text = shared.text("is_paid", "Whether it is paid, as delivered.")
    ip_hash: types.Text = shared.pseudonym("ip", "ip", "the IP address", of_person=False)
    ip_network: types.Text = shared.ip_network()
    browser_family: types.Text = shared.browser_family()
    os_family: types.Text = shared.os_family()
    referrer: types.Text = shared.scrubbed("referrer", "Page that the link stood on", is_url=True)
    country: types.Text = shared.text("country", "Country, ISO 3166 alpha-2.", privacy=Privacy.LOCATION)
    country_name: types.Text = shared.text("country_name", "Name of the country.", privacy=Privacy.LOCATION)
    district: types.Text = shared.text("district", "District.", privacy=Privacy.LOCATION)
    city: types.Text = shared.text("city", "City.", privacy=Privacy.LOCATION)
    city_id: types.Text = shared.text("city_id", "Id of the city.", privacy=Privacy.LOCATION)
    isp_code: types.Text = shared.text("isp_code", "Code of the internet provider.")
    browser: types.Text = shared.text("browser", "Browser, as the vendor tells it.")
    os: types.Text = shared.text("os", "Operating system, as the vendor tells it.")
    device: types.Text = shared.text("device", "Device.")
    device_type: types.Text = shared.device_type()
    sub1: types.Text = shared.sub(1)
    sub2: types.Text = shared.sub(2)
    sub3: types.Text = shared.sub(3)
    sub4: types.Text = shared.sub(4)
    sub5: types.Text = shared.sub(5)
    sub6: types.Text = shared.sub(6)
    sub7: types.Text = shared.sub(7)
    sub8: types.Text = shared.sub(8)
    custom_field_1: types.Text = shared.scrubbed("custom_field_1", "The advertiser's own field 1")
    custom_field_2: types.Text = shared.scrubbed("custom_field_2", "The advertiser's own field 2")
    custom_field_3: types.Text = shared.scrubbed("custom_field_3", "The advertiser's own field 3")
    custom_field_4: types.Text = shared.scrubbed("custom_field_4", "The advertiser's own field 4")
    custom_field_5: types.Text = shared.scrubbed("custom_field_5", "The advertiser's own field 5")
    custom_field_6: types.Text = shared.scrubbed("custom_field_6", "The advertiser's own field 6")
    custom_field_7: types.Text = shared.scrubbed("custom_field_7", "The advertiser's own field 7")
    landing_id: types.Text = shared.text("landing_id", "Id of the landing page.")
    prelanding_id: types.Text = shared.text("prelanding_id", "Id of the page before the landing page.")
    ref_id: types.Text = shared.scrubbed("ref_id", "The partner's own id of the click")
    comment: types.Text = shared.scrubbed("comment", "Comment of a manager, or of the rule that declined it")
    promocode: types.Text = shared.scrubbed("promocode", "Code that the user has given")
    user_id_hash: types.Text = shared.pseudonym("user_id", "user", "the user's id at the partner or advertiser")
    idfa_hash: types.Text = shared.pseudonym("idfa", "device", "the advertising id of an Apple device")
    android_id_hash: types.Text = shared.pseudonym("android_id", "device", "the id of an Android device")
    facebook_click_hash: types.Text = shared.pseudonym("fbclid", "facebook click", "Facebook's id of the click")
    impression_id: types.Text = shared.text("imp_id", "Impression that it followed on.", privacy=Privacy.IDENTIFIER)
    smart_id: types.Text = shared.text("smart_id", "Id of the smart link.")
    decline_reason: types.Text = shared.text(
        "decline_reason", "Why it was declined.", enumeration=DECLINE_REASONS, lower=True
    )
    fraud_risk: types.Text = shared.text(
        "fraud_risk_level", "How likely it is fraud.", enumeration=FRAUD_RISKS, lower=True
    )
    fraud_type: types.Text = shared.text("fraud_type", "Kinds of fraud that it looks like, as delivered.")
    forensiq: types.Text = shared.text("forensiq", "Score of an older fraud check.")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


def _money_remarks() -> dict[str, pl.Expr]:
    left = (pl.col("revenue") - pl.col("payout") - pl.col("earnings")).abs()
    return {
        "revenue: below zero": pl.col("revenue").is_null() | (pl.col("revenue") >= 0),
        "earnings: differ from revenue less payout": left.is_null() | (left <= pl.lit(_CENT)),
        "currency: not given with an amount": pl.col("currency").is_not_null()
        | (pl.col("revenue").is_null() & pl.col("payout").is_null()),
    }


CONTRACT = Contract(
    vendor="affise",
    offload_type="conversions",
    family=DATA_FUSION,
    rows=Conversions,
    content=Content.INCREMENT,
    event_time="changed_at",
    may_move=True,
    changed_at="changed_at",
    decisions=Decisions("status", made=("confirmed", "declined"), undecided=("pending", "hold")),
    references=(Reference("clicks", ("click_id",), days=_DAYS_TO_CONVERT),),
    key=("conversion_id",),
    source=shared.DATA_FUSION,
    wire=CsvFormat(
        ordered=False,
        compression=None,
        may_be_empty=True,
        aliases=shared.ALIASES
        | {
            "conversion_id": "id",
            "clickid": "click_id",
            "updatedAt": "updated_at",
            "createdAt": "created_at",
            "payout": "payouts",
            "advertiser.id": "advertiser_id",
            "supplier_id": "advertiser_id",
            "advertiser.title": "advertiser_title",
            "holdDateExpire": "hold_date_expire",
        },
    ),
    dropped=shared.DROPPED,
    remarks=shared.clock_remark("conversion_id") | shared.address_remark() | _money_remarks(),
)
