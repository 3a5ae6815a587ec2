-- Conversions by day
--
-- Conversions by the day on which they were recorded (UTC), with their status now.
SELECT (created_at AT TIME ZONE 'UTC')::DATE AS day, status, count(*) AS conversions
FROM mart.attribution
WHERE feed IN $feeds AND (created_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY day, status
