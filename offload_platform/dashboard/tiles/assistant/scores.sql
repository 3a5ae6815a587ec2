-- How sure
--
-- Messages by the score of the surest recogniser, in steps of 0.05; messages that none has scored are left out.
WITH counted AS (
    SELECT least(floor(score * 20), 19) / 20 AS at_least, count(*) AS messages, count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
        AND score IS NOT NULL
    GROUP BY at_least
)
SELECT at_least, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (at_least)) END FROM counted ORDER BY at_least
