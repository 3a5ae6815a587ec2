"""Turns vendor offloads in S3 into a DuckDB warehouse that analysts can trust."""
