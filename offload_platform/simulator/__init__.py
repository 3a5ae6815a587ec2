"""Writes vendor-shaped deliveries of any size, for the demo, the tests and the benchmark.

One population of users lives through one timeline; each delivery is what the vendor would have sent of it at its
stamp. Everything is worked out from the seed, the user, the day and the position in the day, so no delivery needs
another one to be written.
Not here: reading deliveries (`landing/`), facts about columns and names (`vendors/`).
"""
