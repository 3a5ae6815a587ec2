-- Drives
--
-- Drives that began in the period, without those of passengers. Night is 22:00 to 05:00 on the driver's clock, by the start.
SELECT count(*) AS drives, count(DISTINCT (feed, user_id)) AS drivers, sum(distance_m) / 1000 AS km,
    coalesce(sum(distance_m) FILTER (hour(start_local) >= 22 OR hour(start_local) < 5), 0) / sum(distance_m)
        AS night_share
FROM mart.drive
WHERE feed IN $feeds AND mode IN $modes AND occupant_role IS DISTINCT FROM 'passenger'
    AND start_local::DATE BETWEEN $first AND $last
HAVING count(*) > 0
