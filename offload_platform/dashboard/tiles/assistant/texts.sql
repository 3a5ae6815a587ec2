-- What was said
--
-- Texts that hold what is searched for, with a tag in the place of each address and number that was found. A text that
-- few logins have written is not shown: such texts are counted together.
WITH found AS (
    SELECT lower(trim(text)) AS text, login, intent FROM $messages
    WHERE said_at >= $first::TIMESTAMP AT TIME ZONE 'UTC' AND said_at < ($last + 1)::TIMESTAMP AT TIME ZONE 'UTC'
        AND feed IN $feeds AND channel IN $channels AND user_type IN $kinds
        AND contains(lower(text), lower($text))
),
-- Most texts are written once: they are left out before logins are counted.
often AS (SELECT text FROM found GROUP BY text HAVING count(*) >= $smallest),
frequent AS (
    SELECT text FROM found SEMI JOIN often USING (text) GROUP BY text HAVING count(DISTINCT login) >= $smallest
),
counted AS (
    SELECT coalesce(f.text, '(texts of few logins)') AS text, count(*) AS messages, count(DISTINCT login) AS logins,
        CASE WHEN any_value(f.text) IS NOT NULL THEN mode(intent) END AS intent
    FROM found LEFT JOIN frequent AS f USING (text)
    GROUP BY f.text
)
SELECT text, CASE WHEN logins >= $smallest THEN COLUMNS(* EXCLUDE (text)) END
FROM counted ORDER BY messages DESC NULLS LAST, text LIMIT 100
