-- Held deliveries
--
-- Deliveries that would take back suspiciously much, and what was decided. Next: offload decide FEED TYPE DAY.
SELECT feed, offload_type, delivery_stamp, status, withdrawn, compared, decided_at
FROM ops.holds WHERE feed IN $feeds ORDER BY delivery_stamp DESC, feed, offload_type LIMIT 100
