-- A drive that both products hold: the one of the driving files and the movement of the snapshots that begins within a
-- minute of it, each joined to the one that is nearest. Mode and distance are those of the movement, scores those of
-- the drive. Drives that only one product holds are in drive or in transport alone.
--
-- drive_key: What tells drives apart, as in drive.
-- drive_start_at: When the drive began, as in drive (UTC instant).
-- transport_start_at: When the movement began, as in transport (UTC instant).
-- start_difference_s: Start of the drive minus start of the movement. Unit: s.
-- start_local: When the movement began on the user's wall clock, as delivered.
-- end_at: When the movement ended (UTC instant).
-- mode: Mode of transport of the movement, one name for each.
-- distance_m: Distance of the movement. Unit: m.
-- drive_distance_m: Distance of the drive. Unit: m.
-- duration_s: How long the movement lasted. Unit: s.
WITH drives AS (
    SELECT feed, user_id, drive_key, start_at AS drive_start_at, distance_m AS drive_distance_m, occupant_role,
        data_day, COLUMNS('^score_'),
        -- A minute and its two neighbours hold all that is within a minute: one look-up instead of every pair.
        date_trunc('minute', start_at) + unnest([-1, 0, 1]) * INTERVAL 1 MINUTE AS minute
    FROM mart.drive
),
transports AS (
    SELECT feed, user_id, start_at AS transport_start_at, start_local, end_at, mode, distance_m, duration_s,
        date_trunc('minute', start_at) AS minute
    FROM mart.transport
),
pairs AS (
    SELECT * EXCLUDE (minute), epoch(drive_start_at) - epoch(transport_start_at) AS start_difference_s
    FROM drives JOIN transports USING (feed, user_id, minute)
)
SELECT feed, user_id, drive_key, drive_start_at, transport_start_at, start_difference_s, start_local, end_at, mode,
    distance_m, drive_distance_m, duration_s, occupant_role, data_day, COLUMNS('^score_')
FROM pairs WHERE abs(start_difference_s) <= 60
QUALIFY row_number() OVER (
        PARTITION BY feed, user_id, drive_key ORDER BY abs(start_difference_s), transport_start_at
    ) = 1
    AND row_number() OVER (
        PARTITION BY feed, user_id, transport_start_at ORDER BY abs(start_difference_s), drive_key
    ) = 1
