"""Aura: logs of a digital assistant, written by the local operating business that runs it."""
