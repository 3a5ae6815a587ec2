-- Late changes
--
-- Changes of conversions in the period (UTC), by how long after the conversion they were made.
SELECT least(floor(change_age_days), 30) AS days_after, count(*) AS changes
FROM mart.conversion_change
WHERE feed IN $feeds AND status_before IS NOT NULL AND change_age_days IS NOT NULL
    AND (changed_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY days_after
