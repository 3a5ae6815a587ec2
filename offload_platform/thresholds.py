"""From when on a check fails and how badly, and from when on a delivery is late: the part of a feed that is tuned."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Severity(StrEnum):
    """How bad a failed check is. Both are reported and alerted; an error turns the asset red."""

    WARN = "warn"
    ERROR = "error"


class QuarantineThreshold(_Strict):
    """Rows that break the contract, as a share of the rows of a part.

    A part above `refuse_above` is refused, and with it its delivery: the partition keeps its old rows. Parts with fewer
    bad rows than `refuse_from_rows` never are.
    """

    warn_above: float = Field(default=0.0, ge=0, le=1)
    refuse_above: float = Field(default=0.5, gt=0, le=1)
    refuse_from_rows: int = Field(default=1000, ge=1)


class DriftThreshold(_Strict):
    """Any difference between header or values and the contract."""

    severity: Severity = Severity.WARN


class DuplicateThreshold(_Strict):
    """Rows whose natural key stands in the delivery before, as a share of its rows."""

    allowed_share: float = Field(default=0.0, ge=0, le=1)
    severity: Severity = Severity.WARN


class LateArrivalThreshold(_Strict):
    """Rows whose event is older than `days` when it is delivered, as a share of the rows of a delivery."""

    days: float = Field(default=3.0, ge=0)
    allowed_share: float = Field(default=0.05, ge=0, le=1)
    severity: Severity = Severity.WARN


class VolumeThreshold(_Strict):
    """Rows of a delivery against the median of the `trailing` deliveries before it.

    Judged from three earlier deliveries on; it fails when the share of change exceeds `allowed_change`.
    """

    trailing: int = Field(default=8, ge=3, le=366)
    allowed_change: float = Field(default=0.5, gt=0)
    severity: Severity = Severity.WARN


class ReferenceThreshold(_Strict):
    """Rows that refer to something that was not delivered, as a share of the rows that refer."""

    allowed_share: float = Field(default=0.05, ge=0, le=1)
    severity: Severity = Severity.WARN


class WithdrawalThreshold(_Strict):
    """What a delivery no longer holds, as a share of what it could have repeated.

    A delivery that takes back more than `hold_above`, and no fewer than `hold_from`, may be cut short: it is held, and
    not merged, until the next delivery confirms it or somebody decides.
    """

    hold_above: float = Field(default=0.05, gt=0, le=1)
    hold_from: int = Field(default=1000, ge=1)


class GapThreshold(_Strict):
    """Deliveries in a row that are missing where they come every few minutes; one without rows may be legal."""

    warn_from: int = Field(default=2, ge=1)
    error_from: int = Field(default=8, ge=1)


class DecisionThreshold(_Strict):
    """Changes that undo a decision, as a share of the changes of a delivery."""

    allowed_share: float = Field(default=0.0, ge=0, le=1)
    severity: Severity = Severity.WARN


class CheckThresholds(_Strict):
    """Thresholds of the checks of a table."""

    quarantine: QuarantineThreshold = QuarantineThreshold()
    drift: DriftThreshold = DriftThreshold()
    duplicates: DuplicateThreshold = DuplicateThreshold()
    late_arrivals: LateArrivalThreshold = LateArrivalThreshold()
    volume: VolumeThreshold = VolumeThreshold()
    references: ReferenceThreshold = ReferenceThreshold()
    withdrawals: WithdrawalThreshold = WithdrawalThreshold()
    gaps: GapThreshold = GapThreshold()
    decisions: DecisionThreshold = DecisionThreshold()

    def overridden_by(self, other: "CheckThresholds") -> "CheckThresholds":
        """These thresholds, with those that `other` states in their place."""
        stated = other.model_dump(exclude_unset=True)
        said = self.model_dump(exclude_unset=True)
        return CheckThresholds.model_validate(
            {name: said.get(name, {}) | stated.get(name, {}) for name in said.keys() | stated.keys()}
        )


class Deadline(_Strict):
    """Hours after a delivery was due from which on its feed is late, and overdue."""

    late_hours: float = Field(gt=0, le=8760)
    overdue_hours: float = Field(gt=0, le=8760)
