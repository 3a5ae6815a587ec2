-- What arrived
--
-- Deliveries and their rows by the stamp of the delivery, in the period.
SELECT count(DISTINCT (feed, offload_type, delivery_folder)) AS deliveries, sum(rows_in) AS rows_in,
    sum(rows_loaded) AS rows_loaded, sum(rows_quarantined) AS rows_quarantined
FROM ops.ledger
WHERE status IN ('loaded', 'expired') AND feed IN $feeds
    AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
HAVING count(*) > 0
