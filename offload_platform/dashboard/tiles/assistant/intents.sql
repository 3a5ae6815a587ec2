-- Intents
--
-- What messages were taken to mean, the most frequent first; guessed are those whose score is below the one chosen above.
WITH counted AS (
    SELECT intent, count(*) AS messages, count(DISTINCT login) AS logins,
        count(*) FILTER (score < $threshold) / nullif(count(score), 0) AS guessed_share, avg(score) AS mean_score
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT intent, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (intent)) END
FROM counted ORDER BY messages DESC NULLS LAST, intent LIMIT 50
