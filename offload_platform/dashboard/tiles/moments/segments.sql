-- Segments
--
-- Who carried a label at the end of the period, who came in it, and who left in it. In the first snapshot of a user all
-- labels are new.
SELECT segment_key,
    count(DISTINCT (feed, user_id)) FILTER (
        (valid_from AT TIME ZONE 'UTC')::DATE <= $last
        AND (valid_to IS NULL OR (valid_to AT TIME ZONE 'UTC')::DATE > $last)
    ) AS members,
    count(DISTINCT (feed, user_id)) FILTER ((valid_from AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last) AS entered,
    count(DISTINCT (feed, user_id)) FILTER ((valid_to AT TIME ZONE 'UTC')::DATE BETWEEN $first AND $last) AS gone
FROM mart.segment_history WHERE feed IN $feeds
GROUP BY segment_key HAVING members + entered + gone > 0 ORDER BY members DESC, segment_key
