-- Something that happened on a drive: braking, a turn, handling of the phone. Join it to drive on feed and drive_key.
SELECT * EXCLUDE (object_key, line) FROM sentiance.drive_events
