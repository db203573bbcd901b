"""What the fields of a profile may be. Each function returns the value to keep, or raises
BadField.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

_URL: Final = re.compile(r"https://[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+", re.IGNORECASE)
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
# The grammar of RFC 5646, section 2.1, without the tags that were registered before it.
_TAG: Final = re.compile(
    r"""
    (?: [a-z]{2,3} (?: -[a-z]{3} ){0,3} | [a-z]{4,8} )           # language
    (?: -[a-z]{4} )?                                             # script
    (?: -(?: [a-z]{2} | [0-9]{3} ) )?                            # region
    (?: -(?: [a-z0-9]{5,8} | [0-9][a-z0-9]{3} ) )*               # variants
    (?: -[0-9a-wyz] (?: -[a-z0-9]{2,8} )+ )*                     # extensions
    (?: -x (?: -[a-z0-9]{1,8} )+ )?                              # private use
    """,
    re.VERBOSE | re.ASCII,
)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_NO_ZONES: Final = ("posix/", "right/", "localtime", "posixrules", "Factory")
"""Files of a time zone database that are no zones of it."""
_UNSEEN: Final = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Marks of direction, which would turn the text around a name."""
_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


class BadField(ValueError):  # noqa: N818 - what it is
    """A value cannot be that of its field. The text says which and why."""


class FieldTooLong(ValueError):  # noqa: N818 - what it is
    """A value is longer than its field may be. The text says which, and how long it may be."""


def display_name(text: str) -> str:
    """Return a display name. It may have any characters that are seen, and need not be unique."""
    found = " ".join(unicodedata.normalize("NFC", text).split())
    if not found or any(one in _UNSEEN or unicodedata.category(one) == "Cc" for one in found):
        raise BadField("name: characters that can be seen")
    return found


def avatar_url(text: str, most: int) -> str:
    """Return the address of a picture; empty: there is none."""
    if len(text) > most:
        raise FieldTooLong(f"avatar_url: at most {most} characters")
    if not text:
        return text
    if not (_URL.fullmatch(text) and _has_plain_host(text)):
        raise BadField("avatar_url: an address that begins with https://, without a password")
    return text


def language_tag(text: str) -> str:
    """Return a tag of BCP 47 as it is written by convention, as "zh-Hant-TW"; empty: not known."""
    if not text:
        return text
    parts = text.lower().split("-")
    if not _TAG.fullmatch("-".join(parts)):
        raise BadField("language: a tag of BCP 47, as en or pt-BR")
    for place, part in enumerate(parts[1:], 1):
        if len(part) == 1:
            break  # an extension or private use, in small letters
        if len(part) == 2:
            parts[place] = part.upper()
        elif len(part) == 4 and part.isalpha():
            parts[place] = part.title()
    return "-".join(parts)


def time_zone(text: str) -> str:
    """Return the name of a zone of the IANA time zone database; empty: not known."""
    if not text:
        return text
    if not _ZONE.fullmatch(text) or text.startswith(_NO_ZONES):
        raise BadField("time_zone: a name as Europe/Berlin")
    try:
        ZoneInfo(text)
    except (OSError, ValueError, LookupError):
        raise BadField("time_zone: there is no such zone") from None
    return text


def metadata(field: str, text: str, most: int) -> str:
    """Return metadata: an object of JSON, as text."""
    if len(text) > most or len(text.encode()) > most:
        raise FieldTooLong(f"{field}: at most {most} bytes")
    try:
        _object(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadField(f"{field}: an object of JSON") from None
    if "\\ud" in text.lower() and _has_half_pair(text):
        raise BadField(f"{field}: half of a surrogate pair")
    return text


def _has_plain_host(url: str) -> bool:
    """Return whether an address names a host, and perhaps a port, but no user or password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return port != 0 and "@" not in parts.netloc and _HOST.fullmatch(host) is not None


def _has_half_pair(text: str) -> bool:
    try:
        msgspec.json.encode(_object(text))
    except (msgspec.MsgspecError, ValueError):
        return True
    return False
