-- Trips
--
-- Movements that began in the period, on the users' own clocks.
SELECT count(*) AS trips, count(DISTINCT (feed, user_id)) AS users, sum(distance_m) / 1000 AS km,
    median(distance_m) / 1000 AS median_km, median(duration_s) / 60 AS median_min
FROM mart.transport
WHERE feed IN $feeds AND mode IN $modes AND start_local::DATE BETWEEN $first AND $last
HAVING count(*) > 0
