-- Funnel
--
-- From clicks to conversions that are payable, of what was recorded in the period (UTC).
WITH counted AS (
    SELECT sum(clicks) AS clicks, sum(conversions) AS conversions, sum(confirmed) AS confirmed
    FROM mart.partner_day WHERE feed IN $feeds AND day BETWEEN $first AND $last
    HAVING count(*) > 0
)
SELECT 1 AS place, 'clicks' AS step, clicks AS counted FROM counted
UNION ALL SELECT 2, 'conversions', conversions FROM counted
UNION ALL SELECT 3, 'confirmed', confirmed FROM counted
ORDER BY place
