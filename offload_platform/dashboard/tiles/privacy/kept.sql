-- What is kept, and what is left out
--
-- The share of rows that a shared table tells in that way; all others are suppressed there, or told less exactly.
SELECT "of", what, value AS kept_share, 1 - value AS left_out_share, target
FROM $report WHERE head = 'utility' AND unit = 'share' ORDER BY kept_share, "of", what
