-- A stretch of time in which a user carried a label, under whichever of its names. Who carried a label, left it and
-- took it again has a row for each time.
--
-- segment_key: The label, one name for each.
-- segment_ids: The names under which it was delivered, in alphabetical order.
-- valid_from: Stamp of the snapshot that first held the label (UTC); people may have been like that before.
-- valid_to: Stamp of the first snapshot that held the user and not the label (UTC); null while the user carries it.
WITH named AS (
    SELECT feed, user_id, coalesce(t.segment_key, h.segment_id) AS segment_key, h.segment_id, known_from,
        coalesce(known_to, TIMESTAMPTZ 'infinity') AS known_to
    FROM history.segments AS h LEFT JOIN mart.segment_twin AS t USING (segment_id)
    WHERE change_kind <> 'deleted'
),
marked AS (
    SELECT *, known_from > max(known_to) OVER before AS begins FROM named
    WINDOW before AS (
        PARTITION BY feed, user_id, segment_key ORDER BY known_from, known_to, segment_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),
numbered AS (
    SELECT *, count(*) FILTER (begins) OVER so_far AS stretch FROM marked
    WINDOW so_far AS (PARTITION BY feed, user_id, segment_key ORDER BY known_from, known_to, segment_id)
)
SELECT feed, user_id, segment_key, list(DISTINCT segment_id ORDER BY segment_id) AS segment_ids,
    min(known_from) AS valid_from, nullif(max(known_to), TIMESTAMPTZ 'infinity') AS valid_to
FROM numbered GROUP BY feed, user_id, segment_key, stretch
