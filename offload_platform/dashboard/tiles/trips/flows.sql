-- From where to where
--
-- The strongest flows between cells, by the stay before and the stay after each trip; a city is that of most stays in the
-- cell. Arcs go from blue to orange; a dot is trips inside one cell. h3_cell(latitude, longitude, resolution) is a function
-- that the dashboard adds.
WITH stays AS (
    SELECT feed, user_id, start_at, city, round(latitude, 3) AS latitude, round(longitude, 3) AS longitude
    FROM mart.stationary
    WHERE feed IN $feeds AND latitude IS NOT NULL AND longitude IS NOT NULL
        AND start_local::DATE BETWEEN $first - 14 AND $last + 14
),
moves AS (
    SELECT feed, user_id, start_at, distance_m FROM mart.transport
    WHERE feed IN $feeds AND mode IN $modes AND start_local::DATE BETWEEN $first AND $last
),
-- Numbers for people and cells: rows are sorted by them, which takes much longer by texts.
people AS (
    SELECT feed, user_id, (row_number() OVER ())::INTEGER AS person FROM (SELECT DISTINCT feed, user_id FROM moves)
),
positions AS (
    SELECT *, h3_cell(latitude, longitude, $resolution) AS cell
    FROM (SELECT latitude, longitude, any_value(city) AS city, count(*) AS stays FROM stays GROUP BY ALL)
),
cells AS (
    SELECT cell, arg_max(city, of_city) AS city, (row_number() OVER ())::INTEGER AS number
    FROM (SELECT cell, city, sum(stays) AS of_city FROM positions GROUP BY ALL) GROUP BY cell
),
-- A person's stays and trips in order, so that the stays around a trip are found by one look along the line.
line AS (
    SELECT person, 2 * epoch_us(start_at) AS moment, number, NULL AS distance_m, false AS is_trip
    FROM stays JOIN people USING (feed, user_id)
    JOIN (SELECT latitude, longitude, number FROM positions JOIN cells USING (cell)) USING (latitude, longitude)
    UNION ALL
    SELECT person, 2 * epoch_us(start_at) + 1, NULL, distance_m, true FROM moves JOIN people USING (feed, user_id)
),
trips AS (
    SELECT person, distance_m, origin, destination
    FROM (
        SELECT *, lag(number IGNORE NULLS) OVER along AS origin, lead(number IGNORE NULLS) OVER along AS destination
        FROM line WINDOW along AS (PARTITION BY person ORDER BY moment)
    )
    WHERE is_trip AND origin IS NOT NULL AND destination IS NOT NULL
),
strongest AS (
    SELECT origin, destination, a.cell AS origin_cell, b.cell AS destination_cell, a.city AS origin_city,
        b.city AS destination_city
    FROM (SELECT origin, destination, count(*) AS trips FROM trips GROUP BY ALL)
    JOIN cells AS a ON a.number = origin JOIN cells AS b ON b.number = destination
    ORDER BY trips DESC, origin_cell, destination_cell LIMIT 300
)
SELECT origin_cell, destination_cell, count(*) AS trips, count(DISTINCT person) AS users,
    round(median(distance_m) / 1000, 1) AS median_km, origin_city, destination_city
FROM trips JOIN strongest USING (origin, destination)
GROUP BY ALL ORDER BY trips DESC, origin_cell, destination_cell
