-- Venues
--
-- The most visited venues, without homes and places of work, and without stays that still went on.
SELECT place_category, place_name, count(*) AS visits, count(DISTINCT (feed, user_id)) AS visitors,
    median(duration_s) / 60 AS median_min
FROM mart.stationary
WHERE feed IN $feeds AND NOT is_open AND significance NOT IN ('home', 'work') AND place_name IS NOT NULL
    AND start_local::DATE BETWEEN $first AND $last
GROUP BY place_category, place_name ORDER BY visits DESC, place_category, place_name LIMIT 50
