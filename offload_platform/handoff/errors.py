"""What goes wrong in a hand-off, told so that somebody can mend it. No message holds a value of a document."""


class HandoffError(Exception):
    """A hand-off cannot be made or sent; what was accepted stays accepted, and is the same when it is sent again."""
