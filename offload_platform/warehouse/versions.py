"""Works out versions from what deliveries hold and lack: when each row held, and what each delivery has changed.

Deliveries are observations, ordered by their stamps. What a row is about is observed by each delivery that holds it,
and observed as absent by each snapshot that should hold it and does not: one in which its subject is present, and whose
window reaches back to it. Equal observations in a row are one version. Where a contract says when a row was last
changed, an observation of an earlier change than one before it says nothing. Deliveries are compared as sets, and load
times play no part, so every order of loads gives the same versions.

Only what a new or changed delivery can touch is worked out again, from the first such delivery on: what held before it
stands. It is worked out in buckets of keys, one after the other, so that memory does not grow with the deliveries; each
is kept at once, as DuckDB gives back what temporary tables held at the end of a transaction only.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import duckdb

from offload_platform.contracts.contract import Content, Contract
from offload_platform.warehouse.ops import OF_TYPE
from offload_platform.warehouse.sql import fetched, quoted
from offload_platform.warehouse.storage import forget_rows, rows_table, sightings_table, versions_table
from offload_platform.warehouse.transactions import transaction

_INSTANT = timedelta(microseconds=1)
_ROWS_PER_BUCKET = 250_000
_LAST = "(SELECT max(seen_at) FROM unmerged)"


class Buckets(Protocol):
    """Who works out the buckets of keys: this process, or others. What comes of it is the same."""

    def work_out(self, versions: "Versions", rows: int) -> None:
        """Bring the table of versions to the deliveries that count; `rows` are about as many as are looked at.

        The tables of deliveries are there: unmerged, left_out, loaded, counted, found, present, looked_at.
        """


class OwnBuckets:
    """Works out one bucket after the other, in this process."""

    def work_out(self, versions: "Versions", rows: int) -> None:
        """Bring the table of versions to the deliveries that count."""
        buckets = 1 + rows // _ROWS_PER_BUCKET
        for bucket in range(buckets):
            versions.find_candidates(f"hash(key_id) % {buckets} = {bucket}")
            versions.work_out_candidates()
            versions.replace_stale("FROM stale", "FROM fresh")


OWN_BUCKETS: Buckets = OwnBuckets()


@dataclass(frozen=True)
class Versions:
    """The versions of one feed's offload type; `first` is the stamp of the first delivery that is not merged."""

    connection: duckdb.DuckDBPyConnection
    feed: str
    contract: Contract
    first: datetime
    has_lost_rows: bool
    buckets: Buckets = OWN_BUCKETS
    _created: dict[str, None] = field(default_factory=dict, init=False, repr=False)

    def work_out(self, left_out: Collection[datetime]) -> None:
        """Merge all deliveries but some; what was merged of those before is undone."""
        self._execute("CREATE OR REPLACE TEMP TABLE left_out (seen_at TIMESTAMPTZ)")
        for stamp in left_out:
            self.connection.execute("INSERT INTO left_out VALUES (?)", [stamp])
        self._create(self._deliveries())
        self.buckets.work_out(self, self._size())
        if self.has_lost_rows:
            forget_rows(self.connection, self.feed, self.contract)
        with transaction(self.connection):
            self._count_withdrawals()
        for name in ("left_out", *self._created):
            self._execute(f"DROP TABLE {name}")
        self._created.clear()

    def find_candidates(self, in_bucket: str = "true") -> None:
        """Make the table `candidates`: all that the merge can be about, of rows for which a condition holds."""
        self._create(iter([("candidates", self._candidates(in_bucket))]))

    def work_out_candidates(self) -> None:
        """Work out the versions of what `candidates` holds: the tables `stale` and `fresh`.

        `stale` are the row ids of versions that hold no more, `fresh` those that take their place.
        """
        self._create(self._steps())

    def replace_stale(self, stale: str, fresh: str) -> None:
        """Put versions in the place of others, as queries of row ids and of versions; all of them or none."""
        versions = versions_table(self.contract)
        with transaction(self.connection):
            self._execute(f"DELETE FROM {versions} WHERE rowid IN ({stale})")
            self._execute(f"INSERT INTO {versions} BY NAME {fresh}")

    @property
    def is_of_users(self) -> bool:
        """Whether all that is known of a key is about one user, so that users can be merged one without the others."""
        return self.contract.subject is not None and self.contract.subject in self.contract.identity

    def _create(self, tables: Iterator[tuple[str, str]]) -> None:
        for name, sql in tables:
            self._execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
            self._created[name] = None

    def _size(self) -> int:
        """Rows that are looked at, or deliveries of them where these are more."""
        counted = [f"{sightings_table(self.contract)} WHERE part_no IN (SELECT part_no FROM looked_at)"]
        if self._is_bounded:
            counted.append(f"{rows_table(self.contract)} AS r WHERE {self._in_reach}")
        elif not self._only_adds:
            counted.append(f"{versions_table(self.contract)} WHERE {self._standing}")
        return max(int(self._execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]) for rows in counted)

    @property
    def _only_adds(self) -> bool:
        """Whether a delivery says nothing of what it lacks, so that it touches no more than it holds."""
        return self.contract.content is Content.INCREMENT and self.contract.window is None

    @property
    def _is_bounded(self) -> bool:
        """Whether times say which rows a delivery can be about."""
        return self.contract.fixed_event_time is not None and not self._only_adds

    @property
    def _standing(self) -> str:
        """Condition on versions: that they hold after the first unmerged delivery, or begin there.

        What was gone before is left out: it stays gone, unless a delivery holds it.
        """
        return "(known_from >= $first OR known_to >= $first OR known_to IS NULL AND change_kind <> 'deleted')"

    def begun(self) -> dict[str, int]:
        """Versions that begin with the deliveries that are merged, by change kind."""
        return dict(
            fetched(
                self.connection,
                f"SELECT change_kind, count(*) FROM {versions_table(self.contract)} "
                f"JOIN {rows_table(self.contract)} AS r USING (row_no) "
                "WHERE r.feed = ? AND known_from IN (SELECT delivery_stamp FROM store.unmerged "
                f"WHERE {OF_TYPE}) GROUP BY ALL ORDER BY ALL",
                [self.feed, *self.account],
            )
        )

    def _deliveries(self) -> Iterator[tuple[str, str]]:
        yield (
            "unmerged",
            "SELECT DISTINCT delivery_stamp AS seen_at FROM store.unmerged "
            f"WHERE {self._ours} AND delivery_stamp >= $first",
        )
        yield (
            "loaded",
            f"SELECT DISTINCT delivery_stamp AS seen_at FROM ops.ledger WHERE {self._ours} AND status = 'loaded' "
            "AND delivery_stamp >= $first",
        )
        yield "counted", "FROM loaded ANTI JOIN left_out USING (seen_at)"
        yield "found", self._found()
        yield "present", "FROM found SEMI JOIN counted USING (seen_at)"
        yield (
            "looked_at",
            "SELECT part_no, object_key, delivery_stamp AS seen_at FROM store.parts "
            f"WHERE {self._ours} AND (delivery_stamp IN (FROM counted) OR delivery_stamp IN (FROM unmerged))",
        )

    def _steps(self) -> Iterator[tuple[str, str]]:
        yield (
            "sighted",
            f"SELECT row_no, part_no, line FROM {sightings_table(self.contract)} JOIN candidates USING (row_no) "
            "WHERE part_no IN (SELECT part_no FROM looked_at)",
        )
        yield "touched", self._touched()
        yield "held_before", self._held_before()
        yield "seen", self._seen()
        yield "settled", self._settled()
        yield "prior", "FROM held_before ANTI JOIN settled USING (key_id)"
        yield "observed", "FROM seen ANTI JOIN settled USING (key_id)"
        yield "absent", self._absent()
        yield "tail", self._tail()
        yield "was", self._was()
        same = (
            "t.row_no = w.row_no AND t.change_kind = w.change_kind AND t.known_from = w.known_from "
            "AND t.known_to IS NOT DISTINCT FROM w.known_to AND t.part_no IS NOT DISTINCT FROM w.part_no "
            "AND t.line IS NOT DISTINCT FROM w.line"
        )
        yield "stale", f"SELECT version_id FROM was AS w ANTI JOIN tail AS t ON {same}"
        yield "fresh", f"FROM tail AS t ANTI JOIN was AS w ON {same}"

    @property
    def account(self) -> list[str]:
        """Feed, vendor and offload type: what tables know the versions by."""
        return [self.feed, self.contract.vendor, self.contract.offload_type]

    @property
    def _ours(self) -> str:
        return "feed = $feed AND vendor = $vendor AND offload_type = $offload_type"

    @property
    def _event_at(self) -> str:
        return quoted(self.contract.fixed_event_time) if self.contract.fixed_event_time else "NULL::TIMESTAMPTZ"

    @property
    def _changed_at(self) -> str:
        return quoted(self.contract.changed_at) if self.contract.changed_at else "NULL::TIMESTAMPTZ"

    @property
    def _in_reach(self) -> str:
        """Condition on rows: that they are ours, and may be about what an unmerged delivery holds, held or lacks."""
        return "r.feed = $feed" if self.has_lost_rows else f"r.feed = $feed AND {self._near}"

    @property
    def _near(self) -> str:
        """Condition on rows: that an unmerged delivery may hold or lack what they are about."""
        if self.contract.fixed_event_time is None:
            return "true"
        reach = self.contract.window.reach if self.contract.window else None
        back = f"$first - {_interval(reach)}" if reach else "NULL"
        parts = f"store.parts SEMI JOIN unmerged ON delivery_stamp = seen_at WHERE {self._ours}"
        return (
            f"{self._event_at} >= least({back}, (SELECT min(first_event_at) FROM {parts}), $first) AND "
            f"{self._event_at} <= greatest((SELECT max(last_event_at) FROM {parts}), {_LAST})"
        )

    def _found(self) -> str:
        """Who is present in which loaded delivery: their absence from it says that something is gone."""
        if self.contract.content is Content.REGISTER:
            everybody = f"SELECT DISTINCT subject FROM store.subjects WHERE {self._ours}"
            return f"SELECT subject, seen_at FROM ({everybody}), loaded"
        if self.contract.window is None:
            return "SELECT NULL::VARCHAR AS subject, NULL::TIMESTAMPTZ AS seen_at WHERE false"
        witnesses = ", ".join(f"'{name}'" for name in self.contract.window.witnesses)
        # What is missing may lie in quarantine, so whoever has a row there is not counted as present.
        return f"""
            SELECT DISTINCT subject, delivery_stamp AS seen_at FROM store.subjects
            SEMI JOIN loaded ON delivery_stamp = loaded.seen_at
            ANTI JOIN (
                SELECT delivery_stamp AS stamp, unnest(regexp_split_to_array(raw, '[^0-9A-Za-z_-]+')) AS word
                FROM ops.quarantine WHERE {self._ours} AND delivery_stamp >= $first
            ) ON stamp = delivery_stamp AND word = subject
            WHERE feed = $feed AND vendor = $vendor AND offload_type IN ({witnesses})
        """

    def _candidates(self, in_bucket: str) -> str:
        """Rows that may be about what an unmerged delivery holds or lacks."""
        rows, versions = f"{rows_table(self.contract)} AS r", versions_table(self.contract)
        held, standing = (
            ("looked_at", self._standing)
            if not self._only_adds
            else ("looked_at SEMI JOIN unmerged USING (seen_at)", "known_from IN (FROM unmerged)")
        )
        in_question = f"""
            SEMI JOIN (
                SELECT key_id FROM {rows} JOIN {sightings_table(self.contract)} USING (row_no)
                WHERE part_no IN (SELECT part_no FROM {held}) AND {in_bucket}
                UNION ALL SELECT key_id FROM {rows} JOIN {versions} USING (row_no)
                WHERE r.feed = $feed AND {standing} AND {in_bucket}
            ) USING (key_id)
        """
        return f"""
            SELECT row_no, key_id, content_hash, {self._subject} AS subject, {self._event_at} AS event_at,
                {self._changed_at} AS changed_at
            FROM {rows} {"" if self._is_bounded else in_question}
            WHERE {self._in_reach} AND {in_bucket}
        """

    def _touched(self) -> str:
        """All rows about whatever an unmerged delivery holds or lacks, or held or lacked when it was merged before."""
        versions = f"{versions_table(self.contract)} JOIN candidates USING (row_no)"
        lacked = (
            f"""
            UNION ALL SELECT key_id FROM {versions}
            WHERE known_from <= {_LAST} AND (known_to IS NULL OR known_to >= $first)
                AND subject IN (SELECT subject FROM found SEMI JOIN unmerged USING (seen_at))
        """
            if self.contract.subject
            else ""
        )
        return f"""
            WITH keys AS (
                SELECT key_id FROM sighted JOIN candidates USING (row_no) WHERE part_no IN (
                    SELECT part_no FROM looked_at SEMI JOIN unmerged USING (seen_at)
                )
                UNION ALL SELECT key_id FROM {versions} WHERE known_from IN (FROM unmerged)
                {lacked}
            )
            FROM candidates SEMI JOIN keys USING (key_id)
        """

    @property
    def _subject(self) -> str:
        return quoted(self.contract.subject) if self.contract.subject else "NULL::VARCHAR"

    @property
    def _reached(self) -> str:
        """Condition on something and a delivery `p`: that the window of the delivery holds it for certain."""
        window = self.contract.window
        return (
            f"event_at >= p.seen_at - {_interval(window.reach - window.guard)}" if window and window.reach else "true"
        )

    def _held_before(self) -> str:
        """The version of everything touched that held when the first unmerged delivery came."""
        return f"""
            SELECT key_id, row_no, subject, event_at, changed_at, change_kind, known_from, known_to, part_no, line
            FROM {versions_table(self.contract)} JOIN touched USING (row_no)
            WHERE known_from < $first AND (known_to IS NULL OR known_to >= $first)
        """

    def _settled(self) -> str:
        """What every delivery from then on holds as it held before: most of a snapshot, and nothing to work out."""
        return """
            SELECT key_id FROM held_before AS h JOIN seen AS s USING (key_id, row_no)
            WHERE h.known_to IS NULL AND h.change_kind <> 'deleted'
            GROUP BY key_id HAVING count(*) = (SELECT count(*) FROM counted)
        """

    def _seen(self) -> str:
        """What deliveries hold, from the first unmerged one on: one row for each thing and delivery."""
        # Few are repeated in a delivery, and to order them all would cost more than all the rest.
        if self.contract.changed_at:
            counts_first, latest = "changed_at DESC, object_key DESC, line DESC", self._latest_change()
        else:
            counts_first, latest = "content_hash DESC, object_key, line", "true"
        return f"""
            WITH observations AS (
                SELECT key_id, seen_at, row_no, content_hash, subject, event_at, changed_at, part_no, object_key, line
                FROM sighted JOIN (FROM looked_at SEMI JOIN counted USING (seen_at)) USING (part_no)
                JOIN touched USING (row_no)
            ),
            once AS (
                SELECT key_id, seen_at, count(*) AS times, any_value(row_no) AS row_no, any_value(subject) AS subject,
                    any_value(event_at) AS event_at, any_value(changed_at) AS changed_at, any_value(part_no) AS part_no,
                    any_value(line) AS line
                FROM observations GROUP BY key_id, seen_at
            ),
            repeated AS (
                SELECT DISTINCT ON (key_id, seen_at) key_id, seen_at, row_no, subject, event_at, changed_at, part_no,
                    line
                FROM observations SEMI JOIN (FROM once WHERE times > 1) USING (key_id, seen_at)
                ORDER BY key_id, seen_at, {counts_first}
            ),
            said AS (SELECT * EXCLUDE (times) FROM once WHERE times = 1 UNION ALL BY NAME FROM repeated)
            SELECT key_id, seen_at, row_no, subject, event_at, part_no, line FROM said WHERE {latest}
        """

    def _latest_change(self) -> str:
        """Condition on what deliveries say: that no delivery before told a later change of the same."""
        return """
            (key_id, seen_at) IN (
                SELECT key_id, seen_at FROM (
                    SELECT key_id, seen_at, changed_at FROM said
                    UNION ALL SELECT key_id, $before::TIMESTAMPTZ, changed_at FROM held_before
                ) QUALIFY changed_at >= max(changed_at) OVER (PARTITION BY key_id ORDER BY seen_at)
            )
        """

    def _absent(self) -> str:
        """Where something is first lacked after it was held: one row for each thing and time that it went."""
        return f"""
            WITH held AS (
                SELECT key_id, subject, event_at, $before::TIMESTAMPTZ AS seen_at FROM prior
                WHERE change_kind <> 'deleted'
                UNION ALL BY NAME SELECT key_id, subject, event_at, seen_at FROM observed
            ),
            followed AS (SELECT *, lead(seen_at) OVER (PARTITION BY key_id ORDER BY seen_at) AS next_at FROM held)
            SELECT key_id, p.seen_at
            FROM followed AS h ASOF JOIN present AS p ON h.subject = p.subject AND h.seen_at < p.seen_at
            WHERE (next_at IS NULL OR p.seen_at < next_at) AND {self._reached}
        """

    def _tail(self) -> str:
        """The versions of everything touched from the first unmerged delivery on, and the one that held before."""
        return """
            WITH said AS (
                SELECT key_id, seen_at, row_no, row_no AS shown, part_no, line, NULL AS was_kind, NULL AS was_from
                FROM observed
                UNION ALL SELECT key_id, seen_at, NULL, NULL, NULL, NULL, NULL, NULL FROM absent
                UNION ALL SELECT key_id, $before::TIMESTAMPTZ, CASE WHEN change_kind <> 'deleted' THEN row_no END,
                    row_no, part_no, line, change_kind, known_from FROM prior
            ),
            marked AS (
                SELECT *, lag(row_no) OVER in_time AS row_before, row_number() OVER in_time AS place FROM said
                WINDOW in_time AS (PARTITION BY key_id ORDER BY seen_at)
            ),
            turned AS (
                SELECT *, lead(seen_at) OVER in_time AS known_to, lag(shown IGNORE NULLS) OVER in_time AS shown_before
                FROM marked WHERE place = 1 OR row_no IS DISTINCT FROM row_before
                WINDOW in_time AS (PARTITION BY key_id ORDER BY seen_at)
            )
            SELECT coalesce(shown, shown_before) AS row_no,
                CASE
                    WHEN was_kind IS NOT NULL THEN was_kind
                    WHEN row_no IS NULL THEN 'deleted'
                    WHEN place = 1 THEN 'new'
                    WHEN row_before IS NULL THEN 'restored'
                    ELSE 'changed'
                END AS change_kind,
                coalesce(was_from, seen_at) AS known_from, known_to, part_no, line
            FROM turned
        """

    def _was(self) -> str:
        """The versions that the tail takes the place of."""
        return f"""
            SELECT v.rowid AS version_id, v.* FROM {versions_table(self.contract)} AS v
            JOIN (FROM touched ANTI JOIN settled USING (key_id)) USING (row_no) LEFT JOIN prior AS p USING (key_id)
            WHERE v.known_from >= coalesce(p.known_from, $first)
        """

    def _count_withdrawals(self) -> None:
        """Count for each merged delivery, and those that they reach, what was known before it and what is gone."""
        window = self.contract.window
        until = f"AND seen_at <= {_LAST} + {_interval(window.reach)}" if window and window.reach else ""
        self._execute(
            f"DELETE FROM ops.withdrawals WHERE {self._ours} AND delivery_stamp >= $first "
            f"{until.replace('seen_at', 'delivery_stamp', 1)}"
        )
        # What the first of them does not reach back to, none does.
        young = f"{self._event_at} >= $first - {_interval(window.reach)}" if window and window.reach else "true"
        self._execute(
            f"""
            INSERT INTO ops.withdrawals BY NAME
            SELECT $feed AS feed, $vendor AS vendor, $offload_type AS offload_type, p.seen_at AS delivery_stamp,
                count(*) AS compared,
                count(*) FILTER (known_to = p.seen_at AND next_kind = 'deleted') AS withdrawn
            FROM (
                SELECT v.*, {self._subject} AS subject, {self._event_at} AS event_at,
                    lead(change_kind) OVER (PARTITION BY key_id ORDER BY known_from) AS next_kind
                FROM {versions_table(self.contract)} AS v JOIN {rows_table(self.contract)} AS r USING (row_no)
                WHERE r.feed = $feed AND {self._standing} AND {young}
            )
            JOIN (FROM present WHERE true {until}) AS p USING (subject)
            WHERE change_kind <> 'deleted' AND known_from < p.seen_at AND coalesce(known_to >= p.seen_at, true)
                AND {self._reached}
            GROUP BY p.seen_at
            """
        )

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        values = {
            "feed": self.feed,
            "vendor": self.contract.vendor,
            "offload_type": self.contract.offload_type,
            "first": self.first,
            "before": self.first - _INSTANT,
        }
        return self.connection.execute(sql, {name: value for name, value in values.items() if f"${name}" in sql})


def _interval(span: timedelta) -> str:
    return f"INTERVAL {span.total_seconds():.0f} SECOND"
