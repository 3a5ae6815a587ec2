-- Targets against measured
--
-- How much of what each target allows is used: more than 100 % is missed. For targets that something must reach it is the
-- target by what was measured. More than 200 % is drawn as 200 %.
WITH read AS (
    SELECT *, target[1] = '≥' AS is_least, target[3:]::DOUBLE AS limit_value FROM $report WHERE is_met IS NOT NULL
)
SELECT head, format('{} · {}', "of", what) AS measure, CASE
        WHEN what LIKE 'fewest %' AND value < $smallest THEN '<' || $smallest
        WHEN unit = 'share' THEN format('{:.2f} %', 100 * value)
        WHEN unit = 'count' THEN format('{:,}', value::BIGINT)
        ELSE format('{:.2f} {}', value, unit) END AS measured, target,
    CASE
        WHEN limit_value = 0 THEN IF(is_met, 0, 2)
        WHEN is_least THEN least(coalesce(limit_value / nullif(greatest(value, 0), 0), 2), 2)
        ELSE least(greatest(value, 0) / limit_value, 2) END AS used,
    IF(is_met, 'met', 'missed') AS state
FROM read ORDER BY state DESC, used DESC, measure
