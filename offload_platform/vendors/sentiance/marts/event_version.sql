-- What became of stays, movements and moments from snapshot to snapshot: one row for each time that one was new,
-- changed, deleted or restored.
--
-- event_type: stationary, transport or moment.
-- start_at: When the event began (UTC instant).
-- snapshot_at: Stamp of the snapshot that brought the version (UTC).
SELECT feed, app_id, 'stationary' AS event_type, user_id, start_at, known_from AS snapshot_at, known_to, change_kind
FROM history.stationaries
UNION ALL
SELECT feed, app_id, 'transport', user_id, start_at, known_from, known_to, change_kind FROM history.transports
UNION ALL
SELECT feed, app_id, 'moment', user_id, start_at, known_from, known_to, change_kind FROM history.moments
