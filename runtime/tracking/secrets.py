"""What of a tracking URI nobody may read: passwords and tokens.

In: a URI. Out: the same as it may be shown; text of libraries without them. Pure, and without MLflow."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, TextIO
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
#: scheme, rest. The user and the password end at the last @: drivers allow @, /, ? and # within them.
_URI = re.compile(r"([^:/?#]+)://(.*)", re.DOTALL)
_SHORTEST = 2


def shown(uri: str) -> str:
    """The URI without passwords, tokens, values of its query or its fragment. The user of a web server may be a token,
    and isn't shown either."""
    found = _URI.fullmatch(uri)
    if found is None or (uri.startswith("sqlite:///") and "?" not in uri):
        return uri  # a SQLite file's path has no secrets, whatever characters it has
    scheme, user, place = _parts(*found.groups())
    path, mark, query = re.fullmatch(r"([^?#]*)([?#]?)(.*)", place, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{scheme}://{_shown_user(scheme, user)}{path}{mark}{_shown_query(query, mark)}"


def without_secrets(text: str, uri: str) -> str:
    """`text` with none of the URI's secrets in it, in whatever way they are quoted."""
    text = text.replace(uri, shown(uri))
    for secret in sorted(set(_spellings(uri)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


class Censor:
    """A text stream that passes on what is written to it, without the secrets of a URI, line by line."""

    def __init__(self, stream: TextIO, uri: str) -> None:
        self._stream, self._uri, self._begun = stream, uri, ""

    def write(self, text: str) -> int:
        whole, newline, self._begun = (self._begun + text).rpartition("\n")
        self._stream.write(without_secrets(whole, self._uri) + newline)
        self._stream.flush()
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _parts(scheme: str, rest: str) -> tuple[str, str, str]:
    # A file's name may have an @ in it; only SQLite's encrypted drivers have a password, before an empty host.
    files = scheme == "file" or (scheme.startswith("sqlite") and rest.startswith("/"))
    user, _, place = ("", "", rest) if files else rest.rpartition("@")
    return scheme, user, place


def _shown_user(scheme: str, user: str) -> str:
    if not user:
        return ""
    name, colon, _ = user.partition(":")
    return f"{HIDDEN}@" if scheme.startswith("http") else f"{name}:{HIDDEN}@" if colon else f"{name}@"


def _shown_query(query: str, mark: str) -> str:
    if not query:
        return ""
    if mark == "#":
        return HIDDEN
    keys = [pair.partition("=") for pair in re.split("[&;]", query.partition("#")[0])]
    return "&".join(f"{key}={HIDDEN}" if equals else HIDDEN for key, equals, _ in keys)


def _secrets(uri: str) -> Iterator[str]:
    found = _URI.fullmatch(uri)
    if found is None:
        return
    scheme, user, place = _parts(*found.groups())
    name, colon, password = user.partition(":")
    # Drivers differ in where a password with such a character ends: what they tell may be a part.
    yield from (password, *re.split("[@/?#:]", password), *re.split("[@/?#:]", unquote(password)))
    if scheme.startswith("http"):
        yield from (name, user)
        yield base64.b64encode(unquote(user if colon else f"{user}:").encode(errors="replace")).decode()
    query, _, fragment = place.partition("?")[2].partition("#")
    yield from (value for _, value in parse_qsl(query, separator="&"))
    yield from (fragment, place.partition("#")[2])
    yield from (pair.partition("=")[2] or pair for pair in re.split("[&;]", query))


def _spellings(uri: str) -> Iterator[str]:
    for secret in _secrets(uri):
        for plain in (secret, unquote(secret), unquote_plus(secret)):
            # A URI from the environment may hold bytes that are no text.
            quoted = (q(plain, safe, errors="replace") for q in (quote, quote_plus) for safe in ("", "/"))
            for text in (plain, repr(plain)[1:-1], *quoted):
                if len(text) >= _SHORTEST:
                    yield text
