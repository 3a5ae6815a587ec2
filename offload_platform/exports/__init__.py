"""What the platform sends: rows of the published file, to buckets of clients, on a rhythm, each change once.

An export is one form (`form.py`), saved with its state (`registry.py`). A slot is a moment at which a file is due
(`slots.py`); `selection.py` finds out which rows have changed since the last file, `payload.py` makes the file,
`bucket.py` puts it, and `sending.py` does all of that so that a crash at any point changes nothing.

Not here: Dagster, and how rows come into the published file.
"""
