-- Why requests fail
--
-- Messages that failed, by status and reason.
WITH counted AS (
    SELECT status, reason, count(*) AS messages,
        count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
        AND regexp_matches(status, '^[45]')
    GROUP BY ALL
)
SELECT status, reason, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (status, reason)) END
FROM counted ORDER BY messages DESC NULLS LAST, status, reason LIMIT 50
