-- From where to where
--
-- The strongest flows between cells, by the stay before and the stay after each trip. Arcs go from blue to orange; a dot is
-- trips inside one cell. h3_cell(latitude, longitude, resolution) is a function that the dashboard adds.
WITH stays AS (
    SELECT feed, user_id, start_at, city, round(latitude, 3) AS latitude, round(longitude, 3) AS longitude
    FROM mart.stationary
    WHERE feed IN $feeds AND latitude IS NOT NULL AND longitude IS NOT NULL
        AND start_local::DATE BETWEEN $first - 14 AND $last + 14
),
cells AS (
    SELECT latitude, longitude, h3_cell(latitude, longitude, $resolution) AS cell
    FROM (SELECT DISTINCT latitude, longitude FROM stays)
),
placed AS (SELECT feed, user_id, start_at, city, cell FROM stays JOIN cells USING (latitude, longitude)),
trips AS (
    SELECT feed, user_id, start_at, distance_m FROM mart.transport
    WHERE feed IN $feeds AND mode IN $modes AND start_local::DATE BETWEEN $first AND $last
)
SELECT origin.cell AS origin_cell, destination.cell AS destination_cell, count(*) AS trips,
    count(DISTINCT (trips.feed, trips.user_id)) AS users, round(median(trips.distance_m) / 1000, 1) AS median_km,
    mode(origin.city) AS origin_city, mode(destination.city) AS destination_city
FROM trips
ASOF JOIN placed AS origin
    ON origin.feed = trips.feed AND origin.user_id = trips.user_id AND origin.start_at <= trips.start_at
ASOF JOIN placed AS destination
    ON destination.feed = trips.feed AND destination.user_id = trips.user_id AND destination.start_at >= trips.start_at
GROUP BY ALL ORDER BY trips DESC, origin_cell, destination_cell LIMIT 300
