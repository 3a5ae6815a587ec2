-- A user: who that is to the client, and when the user was seen. One row for everybody who was ever delivered or
-- linked.
--
-- feed: Feed that delivers the user, as named in the configuration.
-- user_id: Sentiance's id of the user, 24 hexadecimal digits. Privacy: identifier.
-- external_id: The client's own id, where all that was delivered agrees on one; null in a conflict. Privacy:
--   identifier.
-- external_ids: The ids that the newest mapping file links to the user, in alphabetical order; empty where there is
--   none. Privacy: identifier.
-- metadata_user_id: The client's own id that the app set, as last delivered. Privacy: identifier.
-- has_identity_conflict: True where the mapping links several ids, or another one than the app set; see
--   user_identity_conflict.
-- first_seen_at: Stamp of the first delivery with a stay, a movement or a drive of the user (UTC).
-- last_seen_at: Stamp of the newest delivery with a stay, a movement or a drive of the user (UTC).
-- last_snapshot_at: Stamp of the newest snapshot of the feed (UTC); null where it delivers none.
-- in_latest_snapshot: Whether that snapshot holds a stay or a movement of the user; the vendor leaves out who was not
--   active for a week. Null where the feed delivers no snapshots.
-- activity_state: active (in the latest snapshot, or with a drive in the week up to the newest delivery of the feed),
--   silent (seen before), or never_seen (only linked or labelled).
-- silent_days: Days from last_seen_at to the newest delivery of the feed; null for never_seen. Unit: days.
WITH snapshots AS (
    SELECT feed, max(delivery_stamp) AS last_snapshot_at FROM ops.ledger
    WHERE vendor = 'sentiance' AND offload_type IN ('stationaries', 'transports') AND status IN ('loaded', 'expired')
    GROUP BY feed
),
sightings AS (
    SELECT feed, user_id, min(delivery_stamp) AS first_seen_at, max(delivery_stamp) AS last_seen_at,
        max(delivery_stamp) AS in_snapshot_at, NULL::TIMESTAMPTZ AS driven_at
    FROM history.presence GROUP BY feed, user_id
    UNION ALL
    SELECT feed, user_id, min(known_from), max(known_from), NULL, max(known_from)
    FROM history.transports_realtime GROUP BY feed, user_id
    UNION ALL
    SELECT feed, user_id, min(known_from), max(known_from), NULL, max(known_from)
    FROM history.driving_events_realtime GROUP BY feed, user_id
),
seen AS (
    SELECT feed, user_id, min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at,
        max(in_snapshot_at) AS in_snapshot_at, max(driven_at) AS driven_at
    FROM sightings GROUP BY feed, user_id
),
newest AS (
    SELECT feed, greatest(max(last_seen_at), any_value(last_snapshot_at)) AS newest_at
    FROM seen LEFT JOIN snapshots USING (feed) GROUP BY feed
),
said AS (
    SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.stationaries
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.transports
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.moments
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.segments
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.attributes_wide
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.attributes_long
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.transports_realtime
    UNION ALL SELECT feed, user_id, metadata_user_id, known_from FROM sentiance.driving_events_realtime
    UNION ALL SELECT feed, user_id, NULL, known_from FROM sentiance.scores_realtime
    UNION ALL SELECT feed, user_id, NULL, known_from FROM sentiance.mapped_waypoints_realtime
),
named AS (
    SELECT feed, user_id,
        max_by(metadata_user_id, (known_from, metadata_user_id)) FILTER (metadata_user_id <> '') AS metadata_user_id
    FROM said GROUP BY feed, user_id
),
linked AS (
    SELECT feed, user_id, list(DISTINCT external_id ORDER BY external_id) AS external_ids
    FROM sentiance.mapping GROUP BY feed, user_id
),
users AS (
    SELECT feed, user_id, coalesce(external_ids, []) AS external_ids, metadata_user_id,
        list_distinct(list_concat(external_ids, list_filter([metadata_user_id], lambda id: id IS NOT NULL))) AS ids,
        first_seen_at, last_seen_at, in_snapshot_at, driven_at
    FROM named FULL JOIN linked USING (feed, user_id) FULL JOIN seen USING (feed, user_id)
)
SELECT feed, user_id,
    CASE WHEN len(ids) = 1 THEN ids[1] END AS external_id,
    external_ids, metadata_user_id,
    len(ids) > 1 AS has_identity_conflict,
    first_seen_at, last_seen_at, last_snapshot_at,
    CASE WHEN last_snapshot_at IS NOT NULL THEN coalesce(in_snapshot_at = last_snapshot_at, false) END
        AS in_latest_snapshot,
    CASE
        WHEN in_snapshot_at = last_snapshot_at OR driven_at > newest_at - INTERVAL 7 DAY THEN 'active'
        WHEN last_seen_at IS NOT NULL THEN 'silent'
        ELSE 'never_seen'
    END AS activity_state,
    date_diff('day', last_seen_at, newest_at) AS silent_days
FROM users LEFT JOIN snapshots USING (feed) LEFT JOIN newest USING (feed)
