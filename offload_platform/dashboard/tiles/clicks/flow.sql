-- Status flow
--
-- Changes of status that were made in the period (UTC): from which to which. What was decided and is open again is marked.
SELECT coalesce(status_before, '(new)') AS status_before, status, count(*) AS changes,
    count(*) FILTER (is_backwards) AS backwards
FROM mart.conversion_change
WHERE feed IN $feeds AND (changed_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
    AND status_before IS DISTINCT FROM status
GROUP BY ALL ORDER BY changes DESC, status_before, status
