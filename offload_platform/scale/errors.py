"""What can go wrong between the machines. Every message says what to do next."""

from offload_platform.landing.errors import LandingError


class ScaleUnusable(LandingError):
    """The cluster, the place that its nodes share, or the shared warehouse cannot be used; nothing was changed."""


class OtherNode(ScaleUnusable):
    """A node has other software or other secrets than the control machine: what it makes would differ."""


class StaleAttempt(ScaleUnusable):
    """A later attempt at the same has begun; this one has stopped, and what it left is whole."""
