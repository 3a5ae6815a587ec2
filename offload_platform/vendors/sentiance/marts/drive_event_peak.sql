-- A peak of an acceleration or a turn: one for an acceleration and a plain turn, two for a change of lane, three for a
-- roundabout. Join it to drive_event on feed, drive_key and event_seq = seq.
SELECT * EXCLUDE (object_key, line) FROM sentiance.drive_event_peaks
