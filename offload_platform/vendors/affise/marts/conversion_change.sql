-- A change of status, payout or revenue of a conversion, as deliveries told it: one row for each change, and one for the
-- begin of each conversion.
--
-- known_from: Stamp of the delivery that told it (UTC).
-- status_before: Status before; null at the begin.
-- payout_before: What the partner was to be paid before. Unit: currency.
-- revenue_before: What the advertiser was to pay before. Unit: currency.
-- is_backwards: True where what had been decided was undone: from confirmed or declined to pending or hold.
-- change_age_days: Days from the record of the conversion to the change. Unit: d.
WITH versions AS (
    SELECT feed, conversion_id, offer_id, partner_id, currency, created_at, changed_at, known_from, status, payout, revenue,
        row_number() OVER in_time AS place, lag(status) OVER in_time AS status_before,
        lag(payout) OVER in_time AS payout_before, lag(revenue) OVER in_time AS revenue_before
    FROM history.conversions WINDOW in_time AS (PARTITION BY feed, conversion_id ORDER BY known_from)
)
SELECT feed, conversion_id, offer_id, partner_id, currency, known_from, changed_at, status_before, status,
    payout_before, payout, revenue_before, revenue,
    coalesce(status_before IN ('confirmed', 'declined') AND status IN ('pending', 'hold'), false) AS is_backwards,
    date_diff('second', created_at, changed_at) / 86400 AS change_age_days
FROM versions
WHERE place = 1 OR (status, payout, revenue) IS DISTINCT FROM (status_before, payout_before, revenue_before)
