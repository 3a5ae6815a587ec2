-- Channels
--
-- Share of the messages by channel.
WITH counted AS (
    SELECT channel, count(*) AS messages, count(DISTINCT login) AS logins,
        count(*) / sum(count(*)) OVER () AS share
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT channel, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (channel)) END
FROM counted ORDER BY share DESC NULLS LAST, channel
