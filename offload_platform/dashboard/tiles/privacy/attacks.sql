-- Attacks on rows as delivered, and on what is shared
--
-- The share of persons, rows or homes that an attack finds. As delivered it must succeed, or it proves nothing of the tiers.
SELECT IF(head = 'control', 'as delivered', 'shared') AS rows_are, format('{} · {}', "of", what) AS attack, head,
    value AS found_share, target
FROM $report WHERE head IN ('control', 'linkability', 'inference') AND unit = 'share'
ORDER BY rows_are, found_share DESC, attack
