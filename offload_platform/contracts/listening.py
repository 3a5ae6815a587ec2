"""What a vendor says of how the logs of its assistant become data that name nobody: RAW, CLEAN, and what is shown.

RAW has the columns of the logs that the vendor's rules let pass. CLEAN has one row for each message, with the columns
of a contract and no others: each of them is computed from RAW, or from the sessions that the rows make.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import pandera.polars as pa
import polars as pl

from offload_platform.contracts.columns import Column, columns_of


class PanelKind(StrEnum):
    """How a panel shows what it counts."""

    LINE = "line"
    BAR = "histogram"
    PIE = "pie"
    HEAT = "heatmap"
    TABLE = "table"


@dataclass(frozen=True)
class Measure:
    """What a panel counts: `count`, or a function of a column (`cardinality`, `percentiles`, `avg`, `median`)."""

    function: str = "count"
    column: str | None = None
    percents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard.

    `over` is the column along its axis, `by` the one that splits it. Only rows that `where` (a query in the words of
    Kibana) finds are counted.
    """

    name: str
    title: str
    kind: PanelKind
    measures: tuple[Measure, ...] = (Measure(),)
    over: str | None = None
    by: str | None = None
    where: str = ""


@dataclass(frozen=True)
class SessionColumns:
    """Names of the columns that sessions and test users add to a message."""

    session: str = "sesId"
    size: str = "sesSize"
    duration: str = "sesDuration"
    user_type: str = "userType"


@dataclass(frozen=True)
class Breakdown:
    """What the messages of a day are counted by: an expression over the columns of CLEAN."""

    name: str
    of: pl.Expr


@dataclass(frozen=True)
class Listening:
    """How logs become data that name nobody.

    `dataset` is the name of the data set, and of the log that it has a row of; `logs` are the offload types that RAW is
    made of. `rows` is the contract of CLEAN: a column is computed from what `joined` makes of the frames of the logs.
    `person` and `moment` are the columns of CLEAN by which rows make sessions, and `of_session` those that are told of
    a session as its first message has them. `login` is the column of a log that is null for who has not logged in, and
    `country` the one that tells whose log it is. `testers` are the columns of a log by which test users are known, with
    the domain of their hash. `texts` are columns of CLEAN in which words are looked for. `took` is how long an answer
    took, `score` how sure its meaning was; `failed` and `unsure` tell messages that failed, and those whose meaning was
    guessed. `breakdowns` are what figures are told by, `panels` those of a dashboard.
    """

    dataset: str
    logs: tuple[str, ...]
    rows: type[pa.DataFrameModel]
    joined: Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]
    person: str
    moment: str
    of_session: tuple[str, ...]
    login: str
    country: str
    testers: Mapping[str, str]
    texts: tuple[str, ...]
    took: str
    score: str
    failed: pl.Expr
    unsure: pl.Expr
    breakdowns: tuple[Breakdown, ...]
    panels: tuple[Panel, ...]
    computed: SessionColumns = SessionColumns()

    @property
    def schema(self) -> pa.DataFrameSchema:
        """The pandera schema of CLEAN."""
        return self.rows.to_schema()

    @property
    def names(self) -> Mapping[str, str]:
        """Columns of CLEAN by what they tell, in words that are no vendor's; breakdowns by their own names."""
        breakdowns = {one.name: one.of.meta.output_name() for one in self.breakdowns if one.of.meta.is_column()}
        return {
            "said_at": self.moment,
            "login": self.person,
            "session": self.computed.session,
            "session_messages": self.computed.size,
            "session_s": self.computed.duration,
            "user_type": self.computed.user_type,
            "duration_ms": self.took,
            "score": self.score,
            "text": self.texts[0],
            **breakdowns,
        }

    @property
    def columns(self) -> Mapping[str, Column]:
        """Columns of CLEAN by name, in order."""
        return columns_of(self.schema, {})
