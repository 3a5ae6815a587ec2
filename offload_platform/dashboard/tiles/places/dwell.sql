-- How long
--
-- Ended stays by how long they lasted, and by significance.
WITH classed AS (
    SELECT significance, CASE
        WHEN duration_s < 900 THEN 1 WHEN duration_s < 1800 THEN 2 WHEN duration_s < 3600 THEN 3
        WHEN duration_s < 7200 THEN 4 WHEN duration_s < 14400 THEN 5 WHEN duration_s < 28800 THEN 6
        WHEN duration_s < 57600 THEN 7 ELSE 8 END AS place
    FROM mart.stationary
    WHERE feed IN $feeds AND NOT is_open AND start_local::DATE BETWEEN $first AND $last
)
SELECT ['< ¼', '¼–½', '½–1', '1–2', '2–4', '4–8', '8–16', '≥ 16'][place] AS hours, place, significance,
    count(*) AS stays
FROM classed GROUP BY place, significance ORDER BY place, significance
