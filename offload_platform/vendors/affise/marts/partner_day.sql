-- What a partner has brought to an offer on a day (UTC): one row for each feed, partner, offer, day and currency. A
-- conversion counts on the day on which it was recorded, with its status now; clicks have no currency, and so stand in rows
-- of their own.
--
-- partner_id: Id of the partner (affiliate).
-- day: Day of the clicks and of the conversions (UTC).
-- clicks: Clicks.
-- conversions: Conversions, whatever their status.
-- confirmed: Conversions that are payable.
-- waiting: Conversions that are pending or on hold.
-- declined: Conversions that are invalid.
-- payout_confirmed: What the partner is to be paid for confirmed conversions. Unit: currency.
-- revenue_confirmed: What advertisers pay for confirmed conversions. Unit: currency.
WITH counted AS (
    SELECT feed, partner_id, offer_id, (created_at AT TIME ZONE 'UTC')::DATE AS day, NULL AS currency, 1 AS click,
        NULL AS status, NULL::DECIMAL(18, 4) AS payout, NULL::DECIMAL(18, 4) AS revenue
    FROM affise.clicks
    UNION ALL
    SELECT feed, partner_id, offer_id, (created_at AT TIME ZONE 'UTC')::DATE, currency, 0, status, payout, revenue
    FROM affise.conversions
)
SELECT feed, partner_id, offer_id, day, currency,
    count(*) FILTER (click = 1) AS clicks,
    count(*) FILTER (click = 0) AS conversions,
    count(*) FILTER (status = 'confirmed') AS confirmed,
    count(*) FILTER (status IN ('pending', 'hold')) AS waiting,
    count(*) FILTER (status = 'declined') AS declined,
    sum(payout) FILTER (status = 'confirmed') AS payout_confirmed,
    sum(revenue) FILTER (status = 'confirmed') AS revenue_confirmed
FROM counted GROUP BY feed, partner_id, offer_id, day, currency
