-- A drive, as it is known now, with its scores. A user need not have driven: look at occupant_role. Its position fixes
-- are in sentiance.drive_waypoints, and matched to the road in drive_waypoint.
--
-- mode: Mode of transport, one name for each; other where the delivered one is not known.
-- mode_raw: Mode of transport as delivered.
SELECT d.* EXCLUDE (mode, waypoints, object_key, line, extra),
    coalesce(a.mode, 'other') AS mode, d.mode AS mode_raw
FROM sentiance.transports_realtime AS d LEFT JOIN mart.mode_alias AS a ON a.mode_raw = lower(d.mode)
