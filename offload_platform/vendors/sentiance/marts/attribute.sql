-- The newest value of an attribute of a user: one row for each user and attribute. Attributes are delivered twice,
-- long and wide; where both have one, the long one counts, also when it says that there is no value now.
--
-- attribute: Name of the attribute, spelled as delivered.
-- value_num: The value, where it is a number.
-- value_text: The value, where it is text.
-- value_bool: The value, where it is true or false.
-- value_list: The value, where it is a list.
-- is_masked: True where the vendor delivered a mask instead of the value; null where only the wide rendering has one.
-- rendering: Where the value was delivered: long or wide.
WITH long AS (
    SELECT feed, app_id, user_id, attribute, value_num, value_text, value_bool, value_list, is_masked, known_from
    FROM sentiance.attributes_long
)
SELECT *, 'long' AS rendering FROM long
UNION ALL BY NAME
SELECT *, 'wide' AS rendering FROM sentiance.attributes_wide_unpivoted ANTI JOIN long USING (feed, user_id, attribute)
