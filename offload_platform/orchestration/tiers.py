"""The privacy tiers and their report as assets, made anew after each publication where there is a `privacy` section."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from offload_platform.landing.errors import LandingError
from offload_platform.orchestration.automation import after_news
from offload_platform.orchestration.instance import dagster_home
from offload_platform.orchestration.publishing import PUBLISHED_KEY
from offload_platform.orchestration.reports import table
from offload_platform.orchestration.resources import WarehouseResource
from offload_platform.privacy.measures import Head, Measure, Unit
from offload_platform.privacy.report import Report, make_report, report_file
from offload_platform.privacy.rules import RulesError
from offload_platform.privacy.tiers import BUILDERS, Built, Tier, TierMissing
from offload_platform.settings import Privacy, Settings
from offload_platform.warehouse.files import WarehouseFiles

REPORT_KEY = dg.AssetKey("privacy_report")
TARGETS_CHECK = "every_privacy_target_is_met"
_GROUP = "privacy"
_BAR = 30
_OWNERS = ["team:data-platform"]
_DESCRIPTIONS = {
    Tier.PPD_RAW: "Pseudonymised rows in cells and quarters of an hour, which are personal data still, for few people. "
    "The only step that takes the key of the pseudonyms.",
    Tier.PPD_CLEAN: "What may be shared inside: tables of persons without places and fine times, and tables of events "
    "without persons. Whatever fewer than k persons share is told less exactly, or not at all.",
    Tier.AGGREGATE: "Counts for dashboards and hand-offs, each of enough persons, without what a total gives away.",
}


def tier_key(tier: Tier) -> dg.AssetKey:
    """Asset key of a tier."""
    return dg.AssetKey(tier.value)


def tiers_of(settings: Settings) -> list[dg.AssetsDefinition]:
    """The tiers and the report; none where the configuration has no `privacy`."""
    if settings.privacy is None:
        return []
    return [*(_tier(tier, settings.privacy) for tier in Tier), _report(settings.privacy)]


def tier_keys() -> list[dg.AssetKey]:
    """The keys of the tiers and of the report, in the order in which they are made."""
    return [*(tier_key(tier) for tier in Tier), REPORT_KEY]


def protect_after_publishing() -> dg.AutomationConditionSensorDefinition:
    """The sensor that makes the tiers anew when something was published; running from the start."""
    return dg.AutomationConditionSensorDefinition(
        "protect_after_publishing",
        target=dg.AssetSelection.assets(*tier_keys()),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def tier_metadata(built: Built) -> dict[str, Any]:
    """What is said in Dagster of a tier that was made."""
    return {
        "file": dg.MetadataValue.path(built.file),
        "size (MB)": round(built.file.stat().st_size / 1e6, 3),
        "rows": sum(built.rows.values()),
        "tables": table(
            ("table", "rows", "rows found for it"),
            [(name, rows, built.found.get(name)) for name, rows in sorted(built.rows.items())],
        ),
        **({"id of the key": built.key_id} if built.key_id else {}),
    }


def report_metadata(report: Report, files: WarehouseFiles) -> dict[str, Any]:
    """What is said in Dagster of a report: numbers that are plotted over time, all measures, and bars of the worst."""
    return {
        "report": dg.MetadataValue.path(report_file(files)),
        "persons": report.persons,
        "rows attacked": report.rows,
        "targets missed": len(report.missed),
        **{f"{head.value}, worst": worst for head in _PLOTTED if (worst := _worst(report.measures, head)) is not None},
        "measures": table(
            ("head", "of", "measured", "value", "target", "met"),
            [(m.head.value, m.of, m.what, f"{m.value:.4g}", m.target, _MET[m.is_met]) for m in report.measures],
        ),
        "plot": dg.MetadataValue.md(plot(report)),
    }


_PLOTTED = (Head.LINKABILITY, Head.INFERENCE)
_MET = {True: "yes", False: "NO", None: ""}


def plot(report: Report) -> str:
    """How far each attack came beside what it may, and beside the same attack on rows as delivered, in Markdown."""
    shares = [m for m in report.measures if m.unit is Unit.SHARE and m.head is not Head.CANARIES]
    lines = [
        f"{'█' * round(max(m.value, 0) * _BAR):<{_BAR}} {m.value:7.2%} {m.target:>8}  {m.head.value}: {m.what} ({m.of})"
        for m in shares
    ]
    return "\n".join(["```", *lines, "```"])


def _worst(measures: Sequence[Measure], head: Head) -> float | None:
    """The greatest share that an attack of some kind has found, of those that have a target."""
    shares = (m.value for m in measures if m.head is head and m.unit is Unit.SHARE and m.is_met is not None)
    return max(shares, default=None)


def _tier(tier: Tier, privacy: Privacy) -> dg.AssetsDefinition:
    key = tier_key(tier)

    @dg.asset(
        key=key,
        deps=[PUBLISHED_KEY if tier is Tier.PPD_RAW else tier_key(Tier.PPD_RAW)],
        group_name=_GROUP,
        owners=_OWNERS,
        kinds={"duckdb"},
        automation_condition=after_news("what it is made from was made anew"),
        description=_DESCRIPTIONS[tier],
    )
    def make(warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        try:
            built = BUILDERS[tier](warehouse.files, privacy)
        except (RulesError, LandingError, TierMissing) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata=tier_metadata(built))

    return make


def _report(privacy: Privacy) -> dg.AssetsDefinition:
    @dg.asset(
        key=REPORT_KEY,
        deps=[tier_key(tier) for tier in Tier],
        group_name=_GROUP,
        owners=_OWNERS,
        kinds={"json"},
        automation_condition=after_news("what it is made from was made anew"),
        check_specs=[
            dg.AssetCheckSpec(
                TARGETS_CHECK,
                asset=REPORT_KEY,
                description="The attacks on the tiers as they stand have found no more than they may, and the tiers "
                "are of use. docs/privacy.md explains each target.",
            )
        ],
        description="Attacks on the tiers as they stand, on the real rows: what identifies is searched in every byte, "
        "persons are singled out, rows and persons linked, homes looked for. Also what the tiers have kept of use.",
    )
    def attack(warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        files = warehouse.files
        try:
            report = make_report(files, privacy, [dagster_home(files)])
        except (RulesError, TierMissing) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        said = "; ".join(f"{m.of}: {m.what} is {m.value:.4g}, not {m.target}" for m in report.missed)
        return dg.MaterializeResult(
            metadata=report_metadata(report, files),
            check_results=[
                dg.AssetCheckResult(
                    check_name=TARGETS_CHECK, passed=not report.missed, description=said or "All targets are met."
                )
            ],
        )

    return attack
