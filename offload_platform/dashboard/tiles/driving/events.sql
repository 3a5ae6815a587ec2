-- Events per 100 km
--
-- What happened on drives, for each 100 km; hard are brakes of 3 m/s² and more, and accelerations of 2.25 m/s² and more.
WITH drives AS (
    SELECT feed, drive_key, distance_m FROM mart.drive
    WHERE feed IN $feeds AND mode IN $modes AND occupant_role IS DISTINCT FROM 'passenger'
        AND start_local::DATE BETWEEN $first AND $last
),
total AS (SELECT sum(distance_m) / 100000 AS hundred_km FROM drives)
SELECT event_type, count(*) AS events, count(*) / any_value(hundred_km) AS per_100_km,
    count(*) FILTER ((event_type = 'brake' AND peak_mps2 >= 3) OR (event_type = 'accelerate' AND peak_mps2 >= 2.25))
        / any_value(hundred_km) AS hard_per_100_km
FROM drives JOIN mart.drive_event USING (feed, drive_key), total
GROUP BY event_type ORDER BY per_100_km DESC, event_type
