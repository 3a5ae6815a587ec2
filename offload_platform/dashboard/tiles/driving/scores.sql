-- Scores
--
-- Drives by score, from 0 (bad) to 1 (good), in steps of 0.1; drives without enough data for a score are left out.
WITH drives AS (
    SELECT score_smooth_v2 AS smooth, score_legal_v2 AS legal, score_anticipative_v2 AS anticipative,
        score_focus AS focus
    FROM mart.drive
    WHERE feed IN $feeds AND mode IN $modes AND occupant_role IS DISTINCT FROM 'passenger'
        AND start_local::DATE BETWEEN $first AND $last
),
scored AS (
    SELECT 'smooth' AS score, smooth AS value FROM drives
    UNION ALL SELECT 'legal', legal FROM drives
    UNION ALL SELECT 'anticipative', anticipative FROM drives
    UNION ALL SELECT 'focus', focus FROM drives
)
SELECT score, least(floor(value * 10), 9) / 10 AS at_least, count(*) AS drives
FROM scored WHERE value IS NOT NULL GROUP BY ALL ORDER BY score, at_least
