-- The newest report
--
-- Targets that are met and missed, and what the attacks were about: persons and rows of the newest weeks.
SELECT count(*) FILTER (is_met) AS met, count(*) FILTER (NOT is_met) AS missed,
    CASE WHEN any_value(persons) >= $smallest THEN format('{:,}', any_value(persons)) ELSE '<' || $smallest END AS persons,
    any_value(rows_attacked) AS rows_attacked, any_value(made_at) AS made_at,
    greatest(0, epoch($now) - epoch(any_value(made_at))) / 86400 AS days_old
FROM $report HAVING count(*) > 0
