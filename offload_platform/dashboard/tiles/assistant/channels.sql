-- Channels
--
-- Share of the messages by channel.
WITH counted AS (
    SELECT channel, count(*) AS messages, count(DISTINCT login) AS logins,
        count(*) / sum(count(*)) OVER () AS share
    FROM $messages
    WHERE (said_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last AND feed IN $feeds
        AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT channel, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (channel)) END
FROM counted ORDER BY share DESC NULLS LAST, channel
