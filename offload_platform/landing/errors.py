"""What can go wrong between the bucket and the staged rows. Every message says what to do next."""


class LandingError(Exception):
    """A delivery could not be landed; nothing of it reaches the warehouse."""


class SourceUnavailable(LandingError):
    """The feed's root could not be listed or read: credentials, rights, network or a missing bucket."""


class PartChanged(LandingError):
    """A part is not the object that was listed: it was replaced or removed meanwhile."""


class DamagedBody(LandingError):
    """Bytes of a part are not those that the vendor stored: wrong size, wrong checksum, broken or cut gzip."""


class UntrustedPart(LandingError):
    """A part whose rows cannot be told apart safely: no header, a missing key column, another encoding."""
