-- Labels that have two names, of the generation before 2022 and of the one since; deliveries hold both at once, so
-- whoever counts by segment_id counts people twice. What is not listed goes by its own name.
--
-- segment_id: Name of the label in the first generation.
-- segment_key: Name of the label in the second generation, under which marts count it.
-- evidence: Why the two are one: same count (the names agree, and as many users carry the one as the other in the
--   sample of 2019), same name (the names agree, and the sample does not tell), or same display name.
SELECT segment_id, segment_key, evidence FROM {rows}
