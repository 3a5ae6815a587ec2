-- What was said
--
-- Texts that hold what is searched for, with a tag in the place of each address and number that was found. A text that
-- few logins have written is not shown: such texts are counted together.
WITH found AS (
    SELECT lower(trim(text)) AS text, login, intent FROM $messages
    WHERE (said_at AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last AND feed IN $feeds
        AND channel IN $channels AND user_type IN $kinds
        AND contains(lower(text), lower($text))
),
frequent AS (SELECT text FROM found GROUP BY text HAVING count(DISTINCT login) >= $smallest),
counted AS (
    SELECT coalesce(f.text, '(texts of few logins)') AS text, count(*) AS messages, count(DISTINCT login) AS logins,
        CASE WHEN any_value(f.text) IS NOT NULL THEN mode(intent) END AS intent
    FROM found LEFT JOIN frequent AS f USING (text)
    GROUP BY f.text
)
SELECT text, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (text)) END
FROM counted ORDER BY messages DESC NULLS LAST, text LIMIT 100
