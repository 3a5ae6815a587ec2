"""What goes wrong with exports, told so that somebody can mend it. No message holds a secret, or a value of a row."""


class ExportError(Exception):
    """An export cannot go on; the message says what is wrong and what to do. What was sent stays sent."""


class RowsDiffer(ExportError):
    """The file that was made does not hold the rows that were selected; it was not sent."""


class BucketRefused(ExportError):
    """The client's bucket did not take or show an object."""


class ObjectDiffers(BucketRefused):
    """The key of a slot is taken by an object with other bytes, which is never overwritten."""
