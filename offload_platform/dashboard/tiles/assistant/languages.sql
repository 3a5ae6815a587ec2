-- Languages and countries
--
-- Messages by language of the user and country of the log.
WITH counted AS (
    SELECT language, country, count(*) AS messages,
        count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT language, country, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (language, country)) END
FROM counted ORDER BY messages DESC NULLS LAST, language, country LIMIT 100
