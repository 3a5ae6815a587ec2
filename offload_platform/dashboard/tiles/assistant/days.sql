-- Messages by day
--
-- Messages by day (UTC) and channel.
WITH counted AS (
    SELECT (said_at AT TIME ZONE 'UTC')::DATE AS day, channel, count(*) AS messages,
        count(DISTINCT login) AS logins
    FROM $messages
    WHERE (said_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last AND feed IN $feeds
        AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT day, channel, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (day, channel)) END
FROM counted ORDER BY day, channel
