-- Entered and left over time
--
-- Labels that users took and lost, by day of the snapshot that told it.
WITH told AS (
    SELECT (valid_from AT TIME ZONE 'UTC')::DATE AS day, 'entered' AS change FROM mart.segment_history WHERE feed IN $feeds
    UNION ALL
    SELECT (valid_to AT TIME ZONE 'UTC')::DATE, 'left' FROM mart.segment_history
    WHERE feed IN $feeds AND valid_to IS NOT NULL
)
SELECT day, change, count(*) AS labels FROM told WHERE day BETWEEN $first AND $last GROUP BY ALL ORDER BY day, change
