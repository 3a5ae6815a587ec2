"""The vocabulary that contracts are written in.

Here: what a column is, how its cells are read, what a delivery is, what a vendor says about its layout.
Not here: any single vendor's facts (`vendors/`), reading bytes (`landing/`), applying rules (`quality/`).
"""
