"""Hands what names nobody to Elasticsearch and Kibana: files that a client takes along, or a push over the network.

Everything follows from the contract of CLEAN: which fields an index has, what is in a document, what a panel may ask.
Not here: what is clean (`listening/`), and who may see it.
"""
