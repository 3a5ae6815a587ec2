"""A look at the map style of the configuration: whether it is there, and whom browsers will ask because of it."""

import json
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 10
_MOST_BYTES = 10_000_000
_VERSION = 8
_ASKED_FOR = ("glyphs", "sprite")


class BasemapUnusable(Exception):
    """Maps would be blank; the message says why. Of the URL it names the host alone: there may be a key in it."""


def hosts_asked(url: str) -> list[str]:
    """The hosts that browsers ask for pictures, letters and shapes, in order, the style's own among them.

    Raises:
        BasemapUnusable: there is no answer within seconds, or it is no style of MapLibre.
    """
    host = urlsplit(url).hostname
    wrong, style = _fetched(url)
    # Raised out here, where no other exception is being handled: theirs could show the URL in a traceback.
    if wrong:
        raise BasemapUnusable(f"{host} {wrong}")
    if not isinstance(style, dict) or style.get("version") != _VERSION or not style.get("layers"):
        raise BasemapUnusable(f"{host} answered something that is no MapLibre style (version {_VERSION}, with layers)")
    hosts = {urlsplit(urljoin(url, one)).hostname for one in [url, *_named(style)]}
    return sorted(one for one in hosts if one)


def _fetched(url: str) -> tuple[str | None, Any]:
    """What is wrong, in words, or what was answered."""
    try:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=_TIMEOUT_SECONDS) as answer:
            return None, json.loads(answer.read(_MOST_BYTES))
    except HTTPError as error:
        error.close()
        return f"answered {error.code}", None
    except URLError as error:
        return f"cannot be reached ({error.reason})", None
    except ValueError:
        return "answered something that is no JSON", None
    except (OSError, HTTPException) as error:
        return f"cannot be reached ({type(error).__name__})", None


def _named(style: dict[str, Any]) -> Iterator[str]:
    """The addresses that a style names."""
    yield from (style[name] for name in _ASKED_FOR if isinstance(style.get(name), str))
    sources = style.get("sources")
    for source in sources.values() if isinstance(sources, dict) else ():
        if isinstance(source, dict):
            said = (source.get("url"), source.get("data"), *(source.get("tiles") or ()))
            yield from (one for one in said if isinstance(one, str))
