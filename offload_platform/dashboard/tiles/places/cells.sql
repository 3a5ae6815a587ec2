-- Where people stay
--
-- Stays by H3 cell, the fullest cells first. h3_cell(latitude, longitude, resolution) is a function that the dashboard adds.
WITH stays AS (
    SELECT feed, user_id, duration_s, city, round(latitude, 3) AS latitude, round(longitude, 3) AS longitude
    FROM mart.stationary
    WHERE feed IN $feeds AND latitude IS NOT NULL AND longitude IS NOT NULL
        AND significance IN $significances AND start_local::DATE BETWEEN $first AND $last
),
cells AS (
    SELECT latitude, longitude, h3_cell(latitude, longitude, $resolution) AS cell
    FROM (SELECT DISTINCT latitude, longitude FROM stays)
)
SELECT cell, count(*) AS stays, count(DISTINCT (feed, user_id)) AS users,
    round(median(duration_s) / 3600, 2) AS median_hours, mode(city) AS city
FROM stays JOIN cells USING (latitude, longitude)
GROUP BY cell ORDER BY stays DESC, cell LIMIT 3000
