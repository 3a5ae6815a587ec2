-- A conversion, as it is known now, with the click that it followed on, as far as that was delivered to the same feed: one
-- row for each conversion. Who has no click may yet get one: the streams come in separate files, in any order.
--
-- conversion_id: Id of the conversion. Privacy: identifier.
-- click_id: Click that the conversion names; null for some that were imported. Privacy: identifier.
-- created_at: When the conversion was recorded (UTC instant).
-- partner_id: Id of the partner (affiliate) who is paid.
-- is_orphan: True where the conversion names a click that was not delivered (yet).
-- click_known_from: Stamp of the delivery that brought the click (UTC); null where there is none.
-- clicked_at: When the link was clicked (UTC instant), by the click itself.
-- seconds_to_convert: Time from the click to the conversion; negative where the clocks disagree. Unit: s.
-- click_offer_id: Id of the offer that the click was on; another one than that of the conversion is worth a look.
-- click_partner_id: Id of the partner whose link was clicked.
-- click_country: Country of the click, ISO 3166 alpha-2. Privacy: location.
-- click_ip_network: Network of the IP address of the click. Privacy: location.
-- click_browser_family: Family of the browser of the click, told by the user agent.
-- click_os_family: Family of the operating system of the click, told by the user agent.
SELECT c.feed, c.conversion_id, c.click_id, k.click_id IS NULL AND c.click_id IS NOT NULL AS is_orphan,
    c.status, c.status_raw, c.decline_reason, c.goal, c.created_at, c.changed_at, c.hold_until,
    c.offer_id, c.offer_title, c.advertiser_id, c.partner_id,
    c.revenue, c.payout, c.earnings, c.currency, c.country, c.device_type,
    c.known_from, k.known_from AS click_known_from, k.created_at AS clicked_at,
    date_diff('second', k.created_at, c.created_at) AS seconds_to_convert,
    k.offer_id AS click_offer_id, k.partner_id AS click_partner_id, k.country AS click_country,
    k.ip_network AS click_ip_network, k.browser_family AS click_browser_family, k.os_family AS click_os_family,
    coalesce(c.sub1, k.sub1) AS sub1, coalesce(c.sub2, k.sub2) AS sub2, coalesce(c.sub3, k.sub3) AS sub3,
    coalesce(c.sub4, k.sub4) AS sub4, coalesce(c.sub5, k.sub5) AS sub5
FROM affise.conversions AS c LEFT JOIN affise.clicks AS k ON k.feed = c.feed AND k.click_id = c.click_id
