-- Intents
--
-- What messages were taken to mean, the most frequent first; guessed are those whose score is below the one chosen above.
WITH counted AS (
    SELECT intent, count(*) AS messages, count(DISTINCT login) AS logins,
        count(*) FILTER (score < $threshold) / nullif(count(score), 0) AS guessed_share, avg(score) AS mean_score
    FROM $messages
    WHERE (said_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last AND feed IN $feeds
        AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT intent, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (intent)) END
FROM counted ORDER BY messages DESC NULLS LAST, intent LIMIT 50
