-- A position fix on a drive, matched to the road, with speed and limit. The time up to the next fix is what the speed
-- stands for; a gap can be long, so cap it before weighing with it.
--
-- drive_key: What tells drives apart, as in drive; null where the drive itself was not delivered.
-- utc_offset_min: Wall clock minus UTC at the fix. Unit: min.
-- speed_limit_kmh: Speed limit of the road; null where it is not known. Unit: km/h.
-- next_at: When the next position of the drive was taken (UTC instant), in the order of time; null at the last one.
WITH drives AS (
    SELECT feed, user_id, start_at, min(drive_key) AS drive_key
    FROM sentiance.transports_realtime GROUP BY feed, user_id, start_at
)
SELECT w.* EXCLUDE (object_key, line, speed_limit_kmh),
    CASE WHEN speed_limit_kmh > 0 THEN speed_limit_kmh END AS speed_limit_kmh,
    lead(fix_at) OVER (PARTITION BY feed, app_id, user_id, session_id, start_at ORDER BY fix_at, seq) AS next_at,
    drive_key
FROM sentiance.mapped_waypoints AS w LEFT JOIN drives USING (feed, user_id, start_at)
