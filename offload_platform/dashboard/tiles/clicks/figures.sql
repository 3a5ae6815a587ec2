-- Clicks and conversions
--
-- Clicks and conversions that were recorded in the period (UTC), with their status now.
SELECT sum(clicks) AS clicks, sum(conversions) AS conversions, sum(confirmed) AS confirmed, sum(waiting) AS waiting,
    sum(declined) AS declined
FROM mart.partner_day WHERE feed IN $feeds AND day BETWEEN $first AND $last
HAVING count(*) > 0
