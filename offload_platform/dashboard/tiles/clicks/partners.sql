-- Partners
--
-- The partners with the most conversions in the period (UTC).
SELECT partner_id, sum(clicks) AS clicks, sum(conversions) AS conversions, sum(confirmed) AS confirmed,
    sum(conversions) / nullif(sum(clicks), 0) AS conversion_share
FROM mart.partner_day WHERE feed IN $feeds AND day BETWEEN $first AND $last
GROUP BY partner_id ORDER BY conversions DESC, partner_id LIMIT 50
