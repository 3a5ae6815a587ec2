"""The only room that imports Dagster: assets, partitions, checks, resources, and the instance they run on.

Not here: parsing, SQL, rules of contracts.
"""

import warnings

import dagster as dg

# Partitioned checks and code references are in preview and beta. They are used on purpose: without the first a good
# backfill hides this week's failure; both are covered by tests.
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"offload_platform\.")
