"""Affise: clicks and conversions of affiliate marketing, delivered every few minutes by its Data Fusion."""
