"""From a feed's root in an object store to verified, structurally sound rows on local disk.

Here: listing, deliveries and their completeness, fetching with verification, reading blocks of rows, staging.
Not here: what columns mean (`contracts/`, `vendors/`), tables (`warehouse/`), Dagster (`orchestration/`).
"""
