-- Corrected and withdrawn
--
-- Stays, movements and moments that the snapshots of the period changed, left out or brought back.
SELECT event_type, (snapshot_at AT TIME ZONE 'UTC')::DATE AS day, change_kind, count(*) AS events
FROM mart.event_version
WHERE feed IN $feeds AND change_kind <> 'new' AND (snapshot_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY day, event_type, change_kind
