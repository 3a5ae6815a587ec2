"""Beyond one machine: parts and users' histories are worked out by the nodes of a cluster, and the published tables are
in a shared warehouse.

Which deliveries are loaded, and every commit, stay with the one build file of the control machine: what nodes do are
pure functions of what they are given, so that one that is lost is done again elsewhere.
"""
