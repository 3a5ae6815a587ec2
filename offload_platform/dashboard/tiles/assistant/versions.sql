-- Failures and durations by version
--
-- Messages that failed (a status of 400 and more) and how long an answer took, by version of the assistant.
WITH counted AS (
    SELECT version, count(*) AS messages, count(DISTINCT login) AS logins,
        count(*) FILTER (regexp_matches(status, '^[45]')) / count(*) AS failed_share,
        quantile_cont(duration_ms, 0.5) AS median_ms, quantile_cont(duration_ms, 0.95) AS p95_ms
    FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
    GROUP BY ALL
)
SELECT version, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (version)) END
FROM counted ORDER BY version
