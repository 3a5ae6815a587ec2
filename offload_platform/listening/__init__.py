"""Active listening: logs of an assistant become data that name nobody, day by day.

`raw.py` is the one step that holds the key; `clean.py` makes messages, sessions and daily figures of what it has left,
without it. What they make is kept in `days.py`'s files, apart from the warehouse. Not here: which column passes
(`vendors/<vendor>/privacy/`, read by the room `privacy`), and handing it to a viewer (`handoff/`).
"""
