-- Parts
--
-- The parts of the period: those with the most rows in quarantine first.
SELECT feed, offload_type, delivery_stamp, object_key, rows_in, rows_loaded, rows_quarantined, rows_erased,
    rows_quarantined / nullif(rows_in, 0) AS quarantined_share, checksum, size_bytes
FROM ops.ledger
WHERE status = 'loaded' AND feed IN $feeds AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
ORDER BY rows_quarantined DESC, delivery_stamp DESC, object_key LIMIT 200
