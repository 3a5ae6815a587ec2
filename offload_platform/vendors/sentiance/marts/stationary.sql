-- A stay of a user at a place, as it is known now. A stay that had not ended when it was last delivered is open: it
-- has no end and no duration.
--
-- significance: What the place is to the user: home, work, regular, nonregular, poi, or new.
SELECT * EXCLUDE (significance, object_key, line, extra),
    CASE WHEN significance = 'non-regular' THEN 'nonregular' ELSE significance END AS significance
FROM sentiance.stationaries
