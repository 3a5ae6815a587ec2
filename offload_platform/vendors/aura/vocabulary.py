"""Values that Aura is known to write in enumerated columns. Others are kept and reported; nothing is rejected by it.

Source: aura documentation, "Entities CSV format" 5.0.0 and "Entities Avro format" 6.0.0.
"""

from typing import Final

MESSAGE_ACTIONS: Final[frozenset[str]] = frozenset({"send", "receive", "event"})
RECOGNIZER_ACTIONS: Final[frozenset[str]] = frozenset({"recognize"})
SUBSCRIPTIONS: Final[frozenset[str]] = frozenset({"PREPAID", "POSTPAID", "CONTROL"})
