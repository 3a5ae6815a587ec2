-- What places are to people
--
-- Stays and hours by significance; open stays count, and have no hours yet.
SELECT significance, count(*) AS stays, sum(duration_s) / 3600 AS hours, count(*) / sum(count(*)) OVER () AS share
FROM mart.stationary
WHERE feed IN $feeds AND start_local::DATE BETWEEN $first AND $last
GROUP BY significance ORDER BY stays DESC, significance
