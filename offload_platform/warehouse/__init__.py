"""The DuckDB warehouse: the private build file, its one writer, and the published file that analysts open.

Here: tables and comments from contracts, replacing a partition in one transaction, publishing.
Not here: Dagster (`orchestration/`), reading deliveries (`landing/`).
"""
