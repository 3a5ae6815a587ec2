-- Rows by delivery
--
-- Rows of each day of deliveries, by what became of them.
UNPIVOT (
    SELECT (delivery_stamp AT TIME ZONE 'UTC')::DATE AS day, sum(rows_loaded) AS loaded,
        sum(rows_quarantined) AS quarantined
    FROM ops.ledger
    WHERE status IN ('loaded', 'expired') AND feed IN $feeds
        AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
    GROUP BY day
) ON loaded, quarantined INTO NAME became VALUE row_count
ORDER BY day, became
