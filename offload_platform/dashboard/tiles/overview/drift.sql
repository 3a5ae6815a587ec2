-- Drift
--
-- What deliveries showed beside their contract, in the period: new columns, new values, remarkable rows.
SELECT kind, feed, offload_type, column_name, count(DISTINCT delivery_stamp) AS deliveries, sum(row_count) AS row_count,
    min(detail) AS example
FROM ops.drift
WHERE feed IN $feeds AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY deliveries DESC, kind, feed, offload_type, column_name LIMIT 100
