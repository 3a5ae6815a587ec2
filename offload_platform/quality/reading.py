"""What reading takes beside the contract: the feed's word on its source."""

from dataclasses import dataclass
from hashlib import sha256

from offload_platform.contracts.contract import Contract
from offload_platform.contracts.table_form import in_table_form
from offload_platform.quality.protect import PseudonymKey


@dataclass(frozen=True)
class Reading:
    """How the parts of one offload type of a feed are read.

    `zone` is the time zone of times without an offset, `columns` are the delivered ones, in order, of parts without a
    header. Without a `key`, nothing is kept of ids that are only kept as pseudonyms. `in_table_form` are files that an
    export of the table has made.
    """

    zone: str = "UTC"
    columns: tuple[str, ...] = ()
    key: PseudonymKey | None = None
    in_table_form: bool = False

    def of(self, contract: Contract) -> Contract:
        """The contract by which the parts are read."""
        return in_table_form(contract) if self.in_table_form else contract

    def version(self, contract: Contract) -> str:
        """Changes when the same bytes may be read differently; the contract's own where the feed adds nothing to it."""
        if self == AS_DELIVERED:
            return contract.version
        said = (self.of(contract).version, self.zone, self.columns, self.key.check if self.key else None)
        return sha256(repr(said).encode()).hexdigest()[:12]


AS_DELIVERED = Reading()
"""The reading of a feed that adds nothing to its contract."""
