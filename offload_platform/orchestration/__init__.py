"""The only room that imports Dagster: assets, partitions, checks, resources, and the instance they run on.

Not here: parsing, SQL, rules of contracts.
"""
