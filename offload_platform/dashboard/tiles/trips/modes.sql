-- Modes
--
-- Share of the kilometres by mode, without movements of unknown mode.
SELECT mode, count(*) AS trips, sum(distance_m) / 1000 AS km, sum(distance_m) / sum(sum(distance_m)) OVER () AS share
FROM mart.transport
WHERE feed IN $feeds AND mode IN $modes AND mode <> 'insufficient_data'
    AND start_local::DATE BETWEEN $first AND $last
GROUP BY mode HAVING sum(distance_m) > 0 ORDER BY share DESC, mode
