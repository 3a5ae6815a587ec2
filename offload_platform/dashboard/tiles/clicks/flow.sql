-- Status flow
--
-- Changes of status that were made in the period (UTC): from which to which. Backwards are those that undo a decision.
SELECT format('{} → {}', coalesce(status_before, 'new'), status) AS flow, count(*) AS changes,
    count(*) FILTER (is_backwards) AS backwards
FROM mart.conversion_change
WHERE feed IN $feeds AND (changed_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
    AND status_before IS DISTINCT FROM status
GROUP BY ALL ORDER BY changes DESC, flow
