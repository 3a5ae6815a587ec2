-- Moments by day
--
-- The eight most frequent kinds of moments, by day of their start on the users' own clocks.
WITH chosen AS (
    SELECT moment_key, start_local::DATE AS day FROM mart.moment
    WHERE feed IN $feeds AND start_local::DATE BETWEEN $first AND $last
),
frequent AS (SELECT moment_key FROM chosen GROUP BY moment_key ORDER BY count(*) DESC, moment_key LIMIT 8)
SELECT day, moment_key, count(*) AS moments FROM chosen SEMI JOIN frequent USING (moment_key)
GROUP BY ALL ORDER BY day, moment_key
