-- Who has changed most
--
-- Drivers whose legal score, weighted by distance, differs most between the first and the second half of the period; 20 km
-- or more in each half.
WITH halves AS (
    SELECT feed, user_id, start_local::DATE <= $first + (($last - $first) // 2)::INTEGER AS is_first, sum(distance_m) / 1000 AS km,
        sum(score_legal_v2 * distance_m) / sum(distance_m) AS legal
    FROM mart.drive
    WHERE feed IN $feeds AND mode IN $modes AND occupant_role IS DISTINCT FROM 'passenger'
        AND score_legal_v2 IS NOT NULL AND start_local::DATE BETWEEN $first AND $last
    GROUP BY ALL HAVING sum(distance_m) >= 20000
),
movers AS (
    SELECT feed, user_id, before.legal AS legal_before, after.legal AS legal_after,
        after.legal - before.legal AS change, before.km + after.km AS km
    FROM (FROM halves WHERE is_first) AS before JOIN (FROM halves WHERE NOT is_first) AS after USING (feed, user_id)
)
FROM movers
QUALIFY row_number() OVER (ORDER BY change, feed, user_id) <= 5
    OR row_number() OVER (ORDER BY change DESC, feed, user_id) <= 5
ORDER BY change, feed, user_id
