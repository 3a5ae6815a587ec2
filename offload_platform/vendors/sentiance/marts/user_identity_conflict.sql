-- Users about whom the client's own ids disagree. Settle them before joining on external_id.
--
-- conflict: several links (the mapping links several ids), or link and app differ (it links another one than the app
--   set).
SELECT feed, user_id,
    CASE WHEN len(external_ids) > 1 THEN 'several links' ELSE 'link and app differ' END AS conflict,
    external_ids, metadata_user_id, last_seen_at
FROM mart.user_identity WHERE has_identity_conflict
