-- Messages by day
--
-- Messages by day (UTC) and channel.
WITH counted AS (
    SELECT (said_at AT TIME ZONE 'UTC')::DATE AS day, channel, count(*) AS messages,
        count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT day, channel, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (day, channel)) END
FROM counted ORDER BY day, channel
