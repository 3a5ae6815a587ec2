-- Real users and test users
--
-- Messages by kind of user, whatever kind is chosen above. Unknown are those without a login, and all where there is no
-- list of test users.
WITH counted AS (
    SELECT user_type AS kind, count(*) AS messages, count(DISTINCT login) AS logins
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels
    GROUP BY ALL
)
SELECT kind, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (kind)) END FROM counted ORDER BY kind
