-- A period in which a user was in one context, as it is known now. Moments overlap (city, weekend, home), so never add
-- durations across moment_key.
--
-- moment_id: Which context, as delivered.
SELECT m.* EXCLUDE (meta, object_key, line, extra), coalesce(a.moment_key, m.moment_id) AS moment_key
FROM sentiance.moments AS m LEFT JOIN mart.moment_alias AS a USING (moment_id)
