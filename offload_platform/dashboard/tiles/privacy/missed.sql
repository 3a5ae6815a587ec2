-- What failed
--
-- Targets that are missed, with what was measured and what to do.
SELECT head, "of", what, CASE
        WHEN what LIKE 'fewest %' AND value < $smallest THEN '<' || $smallest
        WHEN unit = 'share' THEN format('{:.2f} %', 100 * value)
        WHEN unit = 'count' THEN format('{:,}', value::BIGINT)
        ELSE format('{:.2f} {}', value, unit) END AS measured, target,
    CASE
        WHEN head = 'canaries' THEN 'Take the file away from its readers; drop the column by its rule.'
        WHEN what LIKE 'rows that are not %' THEN 'Build the tiers again: offload privacy build.'
        WHEN head = 'key' THEN 'Few persons cannot hide each other: share aggregates alone.'
        WHEN head = 'utility' THEN 'Coarser levels keep more; that is a choice, and no danger.'
        ELSE 'Raise k, or let the levels tell less.' END AS next_step
FROM $report WHERE NOT is_met ORDER BY head = 'utility', head, "of", what
