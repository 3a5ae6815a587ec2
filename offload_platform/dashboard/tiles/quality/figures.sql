-- Every row accounted for
--
-- Rows in the deliveries of the period: each is loaded, in quarantine, or of an erased person.
SELECT sum(rows_in) AS rows_in, sum(rows_loaded) AS rows_loaded, sum(rows_quarantined) AS rows_quarantined,
    sum(rows_erased) AS rows_erased,
    sum(rows_in) - sum(rows_loaded) - sum(rows_quarantined) - coalesce(sum(rows_erased), 0) AS unaccounted
FROM ops.ledger
WHERE status = 'loaded' AND feed IN $feeds AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
HAVING count(*) > 0
