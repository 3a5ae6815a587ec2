-- Distances
--
-- Trips by distance; the classes grow, as short trips are many.
WITH classed AS (
    SELECT CASE
        WHEN distance_m < 500 THEN 1 WHEN distance_m < 1000 THEN 2 WHEN distance_m < 2000 THEN 3
        WHEN distance_m < 5000 THEN 4 WHEN distance_m < 10000 THEN 5 WHEN distance_m < 20000 THEN 6
        WHEN distance_m < 50000 THEN 7 WHEN distance_m < 100000 THEN 8 ELSE 9 END AS place
    FROM mart.transport
    WHERE feed IN $feeds AND mode IN $modes AND distance_m IS NOT NULL
        AND start_local::DATE BETWEEN $first AND $last
)
SELECT ['< 0.5', '0.5–1', '1–2', '2–5', '5–10', '10–20', '20–50', '50–100', '≥ 100'][place] AS km, place, count(*) AS trips
FROM classed GROUP BY place ORDER BY place
