-- Parts that wait
--
-- Parts that a load has seen and could not use: the delivery is not complete yet, or a newer one counts.
SELECT feed, offload_type, delivery_folder, status, status_reason, count(*) AS parts
FROM ops.ledger WHERE status IN ('incomplete', 'superseded') AND feed IN $feeds
    AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY delivery_folder DESC, feed, offload_type, status, status_reason LIMIT 100
