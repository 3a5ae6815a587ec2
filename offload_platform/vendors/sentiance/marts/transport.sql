-- A movement of a user from one place to another, in one mode, as it is known now. Its position fixes are in
-- sentiance.transport_waypoints.
--
-- mode: Mode of transport, one name for each; other where the delivered one is not known. Leave insufficient_data out
--   of a modal split.
-- mode_raw: Mode of transport as delivered.
SELECT t.* EXCLUDE (mode, waypoints, object_key, line, extra),
    coalesce(a.mode, 'other') AS mode, t.mode AS mode_raw
FROM sentiance.transports AS t LEFT JOIN mart.mode_alias AS a ON a.mode_raw = lower(t.mode)
