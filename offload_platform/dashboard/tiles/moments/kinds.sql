-- Moments
--
-- Moments that began in the period. They overlap (city, weekend, home), so hours are of each kind by itself.
SELECT moment_key, count(*) AS moments, count(DISTINCT (feed, user_id)) AS users, median(duration_s) / 3600 AS median_hours
FROM mart.moment
WHERE feed IN $feeds AND start_local::DATE BETWEEN $first AND $last
GROUP BY moment_key ORDER BY moments DESC, moment_key
