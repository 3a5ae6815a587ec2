-- Reasons
--
-- Why rows are in quarantine; a row with two reasons counts under both.
SELECT offload_type, reason, count(*) AS row_count, count(DISTINCT object_key) AS parts
FROM (
    SELECT offload_type, object_key, unnest(reasons) AS reason FROM ops.quarantine
    WHERE feed IN $feeds AND (delivery_stamp AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
)
GROUP BY ALL ORDER BY row_count DESC, offload_type, reason LIMIT 50
