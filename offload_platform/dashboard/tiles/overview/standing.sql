-- On time?
--
-- The newest delivery of each type that is loaded, against the usual time between two. A delivery is late when half of that
-- time again has passed: the vendor is to be asked. A load is slow when it came more than a day after the delivery was
-- complete in the store: that is ours.
WITH deliveries AS (
    SELECT feed, offload_type, delivery_stamp, max(last_modified) AS arrived_at, min(loaded_at) AS loaded_at
    FROM ops.ledger WHERE status IN ('loaded', 'expired') AND feed IN $feeds GROUP BY ALL
),
gaps AS (
    SELECT *, epoch(delivery_stamp) - epoch(lag(delivery_stamp) OVER (
        PARTITION BY feed, offload_type ORDER BY delivery_stamp
    )) AS gap_s
    FROM deliveries
),
newest AS (
    SELECT feed, offload_type, max(delivery_stamp) AS newest_delivery, max_by(arrived_at, delivery_stamp) AS arrived_at,
        max_by(loaded_at, delivery_stamp) AS loaded_at, median(gap_s) / 86400 AS usual_days,
        (epoch($now) - epoch(max(delivery_stamp))) / 86400 AS days_ago
    FROM gaps GROUP BY feed, offload_type
)
SELECT feed, offload_type,
    CASE
        WHEN usual_days IS NULL THEN 'not known yet'
        WHEN newest.days_ago > 1.5 * newest.usual_days THEN 'vendor is late'
        WHEN epoch(loaded_at) - epoch(arrived_at) > 86400 THEN 'load was slow'
        ELSE 'on time'
    END AS state,
    round(days_ago, 1) AS days_ago, round(usual_days, 2) AS usual_days,
    newest_delivery, arrived_at, loaded_at
FROM newest ORDER BY state IN ('on time', 'not known yet'), state DESC, feed, offload_type
