"""From delivered text to rows that keep their contract, and the rows that do not, with reasons.

Here: conversion of cells, validation, drift. Not here: reading bytes (`landing/`), tables (`warehouse/`).
"""
