-- The driving scores of a user over the nine weeks up to a day. Each day has its own row, and their windows overlap:
-- take the newest, or follow them over time, and never average them over days. Scores of single drives are in drive.
SELECT * EXCLUDE (object_key, line, extra) FROM sentiance.scores_realtime
