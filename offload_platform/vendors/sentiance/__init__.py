"""Sentiance: lifestyle snapshots, driving files and user mapping, as offloads in S3."""
