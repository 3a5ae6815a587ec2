-- When
--
-- Trips by weekday and hour of their start, on the users' own clocks.
SELECT isodow(start_local) AS weekday, hour(start_local) AS hour, count(*) AS trips
FROM mart.transport
WHERE feed IN $feeds AND mode IN $modes AND start_local::DATE BETWEEN $first AND $last
GROUP BY ALL ORDER BY weekday, hour
