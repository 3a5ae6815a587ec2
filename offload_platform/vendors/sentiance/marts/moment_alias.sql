-- Moments that are delivered under another name than the documented one. What is not listed goes by its own name.
--
-- moment_id: The moment as delivered.
-- moment_key: The documented name of the moment.
SELECT moment_id, moment_key FROM {rows}
