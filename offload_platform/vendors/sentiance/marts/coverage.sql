-- A stretch of time over which a user was observed by snapshots. Outside of it, no stay and no movement means that
-- nobody looked, and not that there was none. It reaches back as far as deliveries are kept.
--
-- observed_from: Begin of the window of the first snapshot in the stretch (UTC).
-- observed_to: Stamp of the last snapshot in the stretch (UTC).
-- snapshot_count: Number of snapshots that held the user.
WITH marked AS (
    SELECT *, window_from > lag(delivery_stamp) OVER in_time AS begins FROM history.presence
    WINDOW in_time AS (PARTITION BY feed, user_id ORDER BY delivery_stamp)
),
numbered AS (
    SELECT *, count(*) FILTER (begins) OVER in_time AS stretch FROM marked
    WINDOW in_time AS (PARTITION BY feed, user_id ORDER BY delivery_stamp)
)
SELECT feed, user_id, min(window_from) AS observed_from, max(delivery_stamp) AS observed_to, count(*) AS snapshot_count
FROM numbered GROUP BY feed, user_id, stretch
