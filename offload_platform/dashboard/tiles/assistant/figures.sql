-- Conversations
--
-- Messages of the period (UTC). A login is a new one each time that somebody logs in, and no person; medians are of sessions.
WITH chosen AS (
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
),
sessions AS (SELECT DISTINCT session, session_messages, session_s FROM chosen WHERE session IS NOT NULL),
counted AS (
    SELECT count(*) AS messages, count(DISTINCT login) AS logins, (SELECT count(*) FROM sessions) AS sessions,
        (SELECT median(session_messages) FROM sessions) AS median_messages,
        (SELECT median(session_s) FROM sessions) AS median_s,
        count(*) FILTER (regexp_matches(status, '^[45]')) / count(*) AS failed_share
    FROM chosen HAVING count(*) > 0
)
SELECT CASE WHEN logins >= $smallest THEN COLUMNS(*) END FROM counted
