-- Stays
--
-- Stays that began in the period, on the users' own clocks.
SELECT count(*) AS stays, count(DISTINCT (feed, user_id)) AS users, count(*) FILTER (is_open) AS open_stays,
    median(duration_s) / 3600 AS median_hours
FROM mart.stationary
WHERE feed IN $feeds AND start_local::DATE BETWEEN $first AND $last
HAVING count(*) > 0
