"""What may be seen of persons by whom: rules by column, tiers as files of their own, and a report that measures them.

No Dagster here.
"""
