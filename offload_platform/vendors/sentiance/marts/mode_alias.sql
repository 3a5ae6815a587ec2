-- Every mode of transport that the vendor is known to name, and the one name that marts use for it. What is not listed
-- is `other` in the marts.
--
-- mode_raw: Mode of transport as delivered, in lower case.
-- mode: The one name of the mode.
SELECT mode_raw, mode FROM {rows}
