-- Logins and sessions by day
--
-- Logins that wrote on a day (UTC), and the sessions that they wrote in: their median of messages and of seconds.
WITH chosen AS (
    SELECT *, (said_at AT TIME ZONE 'UTC')::DATE AS day FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
),
sessions AS (
    SELECT day, count(*) AS sessions, median(session_messages) AS median_messages, median(session_s) AS median_s
    FROM (SELECT DISTINCT day, session, session_messages, session_s FROM chosen WHERE session IS NOT NULL) GROUP BY day
),
counted AS (
    SELECT * FROM (SELECT day, count(DISTINCT login) AS logins FROM chosen GROUP BY day)
    LEFT JOIN sessions USING (day)
)
SELECT day, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (day)) END FROM counted ORDER BY day
