-- Languages and countries
--
-- Messages by language of the user and country of the log.
WITH counted AS (
    SELECT language, country, count(*) AS messages,
        count(DISTINCT login) AS logins
    FROM $messages
    WHERE (said_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last AND feed IN $feeds
        AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT language, country, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (language, country)) END
FROM counted ORDER BY messages DESC NULLS LAST, language, country LIMIT 100
