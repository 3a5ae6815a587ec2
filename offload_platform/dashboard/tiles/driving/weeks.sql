-- Phone and night by week
--
-- Seconds of handling the phone for each 100 km, and the share of kilometres at night, by week of the start.
WITH drives AS (
    SELECT feed, drive_key, distance_m, date_trunc('week', start_local)::DATE AS week,
        hour(start_local) >= 22 OR hour(start_local) < 5 AS is_night
    FROM mart.drive
    WHERE feed IN $feeds AND mode IN $modes AND occupant_role IS DISTINCT FROM 'passenger'
        AND start_local::DATE BETWEEN $first AND $last
),
phone AS (
    SELECT feed, drive_key, sum(duration_s) AS phone_s
    FROM mart.drive_event WHERE event_type = 'phone_usage' AND feed IN $feeds GROUP BY ALL
)
SELECT week, sum(distance_m) / 1000 AS km, 100000 * coalesce(sum(phone_s), 0) / sum(distance_m) AS phone_s_per_100_km,
    coalesce(sum(distance_m) FILTER (is_night), 0) / sum(distance_m) AS night_share
FROM drives LEFT JOIN phone USING (feed, drive_key)
GROUP BY week HAVING sum(distance_m) > 0 ORDER BY week
