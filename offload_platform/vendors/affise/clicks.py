"""Contract of `clicks`: clicks on a partner's link to an offer."""

import pandera.polars as pa

from offload_platform.contracts import types
from offload_platform.contracts.columns import Privacy, column
from offload_platform.contracts.contract import Content, Contract, CsvFormat
from offload_platform.contracts.readers import TextCell
from offload_platform.vendors.affise import shared_columns as shared
from offload_platform.vendors.affise.layout import DATA_FUSION


class Clicks(pa.DataFrameModel):
    """A click on a partner's link to an offer."""

    click_id: types.Text = shared.object_id("id", "click")
    created_at: types.Instant = shared.moment("created_at", "When the link was clicked", nullable=False)
    offer_id: types.Text = column(
        TextCell("offer_id"), "Id of the offer.", source=shared.INTERFACE, privacy=Privacy.NONE, nullable=True
    )
    offer_title: types.Text = shared.text("offer_title", "Name of the offer.")
    offer_mongo_id: types.Text = shared.text("offer_mongo_id", "Internal id of the offer.")
    partner_id: types.Text = column(
        TextCell("partner_id"),
        "Id of the partner (affiliate) whose link it was.",
        source=shared.INTERFACE,
        privacy=Privacy.NONE,
        nullable=True,
    )
    partner_title: types.Text = shared.scrubbed("partner_title", "Company of the partner")
    manager_id: types.Text = shared.text("manager_id", "Id of the partner's manager.", privacy=Privacy.IDENTIFIER)
    supplier_manager_id: types.Text = shared.text(
        "supplier_manager_id", "Id of the advertiser's manager.", privacy=Privacy.IDENTIFIER
    )
    ip_hash: types.Text = shared.pseudonym("ip", "ip", "the IP address", of_person=False)
    ip_network: types.Text = shared.ip_network()
    browser_family: types.Text = shared.browser_family()
    os_family: types.Text = shared.os_family()
    referrer: types.Text = shared.scrubbed("referrer", "Page that the link stood on", is_url=True)
    country: types.Text = shared.text("country", "Country, ISO 3166 alpha-2.", privacy=Privacy.LOCATION)
    country_name: types.Text = shared.text("country_name", "Name of the country.", privacy=Privacy.LOCATION)
    region_id: types.Text = shared.text("region_id", "Id of the region.", privacy=Privacy.LOCATION)
    region_name: types.Text = shared.text("region_name", "Name of the region.", privacy=Privacy.LOCATION)
    city: types.Text = shared.text("city", "City.", privacy=Privacy.LOCATION)
    city_id: types.Text = shared.text("city_id", "Id of the city.", privacy=Privacy.LOCATION)
    device: types.Text = shared.text("device", "Device.")
    device_type: types.Text = shared.device_type()
    device_model: types.Text = shared.text("device_model", "Model of the device.")
    os: types.Text = shared.text("os", "Operating system, as the vendor tells it.")
    os_version: types.Text = shared.text("os_version", "Version of the operating system.")
    browser: types.Text = shared.text("browser", "Browser, as the vendor tells it.")
    browser_version: types.Text = shared.text("browser_version", "Version of the browser.")
    connection_type: types.Text = shared.text("connection_type", "Kind of connection, such as wi-fi or cellular.")
    isp: types.Text = shared.text("isp", "Internet provider.")
    isp_code: types.Text = shared.text("isp_code", "Code of the internet provider.")
    sub1: types.Text = shared.sub(1)
    sub2: types.Text = shared.sub(2)
    sub3: types.Text = shared.sub(3)
    sub4: types.Text = shared.sub(4)
    sub5: types.Text = shared.sub(5)
    sub6: types.Text = shared.sub(6)
    sub7: types.Text = shared.sub(7)
    sub8: types.Text = shared.sub(8)
    ext1: types.Text = shared.scrubbed("ext1", "Further parameter ext1")
    ext2: types.Text = shared.scrubbed("ext2", "Further parameter ext2")
    ext3: types.Text = shared.scrubbed("ext3", "Further parameter ext3")
    ref_id: types.Text = shared.scrubbed("ref_id", "The partner's own id of the click")
    user_id_hash: types.Text = shared.pseudonym("user_id", "user", "the user's id at the partner or advertiser")
    unid_hash: types.Text = shared.pseudonym("unid", "user", "the user's unified id")
    idfa_hash: types.Text = shared.pseudonym("idfa", "device", "the advertising id of an Apple device")
    android_id_hash: types.Text = shared.pseudonym("android_id", "device", "the id of an Android device")
    os_id_hash: types.Text = shared.pseudonym("os_id", "device", "the id of the device's system")
    landing_id: types.Text = shared.text("landing_id", "Id of the landing page.")
    prelanding_id: types.Text = shared.text("prelanding_id", "Id of the page before the landing page.")
    conversion_id: types.Text = shared.text(
        "conversion_id", "Conversion that had followed when the file was made.", privacy=Privacy.IDENTIFIER, lower=True
    )
    has_conversions: types.Text = shared.text(
        "has_conversions", "Whether a conversion had followed when the file was made; it may follow later.", lower=True
    )
    is_unique: types.Text = shared.text("uniq", "Whether it was the first click of its kind.", lower=True)
    cbid: types.Text = shared.scrubbed("cbid", "Id for the advertiser's callback")
    smart_id: types.Text = shared.text("smart_id", "Id of the smart link.")
    extra: types.Json = shared.extra()

    class Config:
        strict = True


CONTRACT = Contract(
    vendor="affise",
    offload_type="clicks",
    family=DATA_FUSION,
    rows=Clicks,
    content=Content.INCREMENT,
    event_time="created_at",
    may_move=True,
    key=("click_id",),
    source=shared.DATA_FUSION,
    wire=CsvFormat(
        ordered=False, compression=None, may_be_empty=True, aliases=shared.ALIASES | {"click_id": "id", "clickid": "id"}
    ),
    dropped=shared.DROPPED,
    remarks=shared.clock_remark("click_id") | shared.address_remark(),
)
