"""What goes wrong in listening, told so that somebody can mend it. No message holds a value of a row."""


class ListeningError(Exception):
    """A step cannot be done; the message says what is wrong and what to do. What was there stays as it was."""
