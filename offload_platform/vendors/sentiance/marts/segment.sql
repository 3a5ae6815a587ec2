-- A label that a user carries now: one row for each user and label. Who is absent from the newest snapshot keeps the
-- labels of the last one that held them; user_identity tells who that is.
SELECT feed, user_id, segment_key, segment_ids, valid_from FROM mart.segment_history WHERE valid_to IS NULL
