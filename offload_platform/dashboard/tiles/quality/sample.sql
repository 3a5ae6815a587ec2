-- Where broken rows stand
--
-- The newest rows in quarantine: object and line. Their text may hold personal data and is not shown here; it is in
-- ops.quarantine.raw.
SELECT feed, offload_type, delivery_stamp, object_key, line, array_to_string(reasons, '; ') AS reasons
FROM ops.quarantine
WHERE feed IN $feeds AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
ORDER BY delivery_stamp DESC, object_key, line LIMIT 100
