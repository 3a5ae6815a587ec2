-- When
--
-- Messages by weekday and hour, in UTC: what users' own clocks said is not passed on.
WITH counted AS (
    SELECT isodow(said_at AT TIME ZONE 'UTC') AS weekday, hour(said_at AT TIME ZONE 'UTC') AS hour,
        count(*) AS messages, count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT weekday, hour, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (weekday, hour)) END
FROM counted ORDER BY weekday, hour
