"""Credentials taken out of whatever is shown: logs, errors, events, names, dumps."""

from __future__ import annotations

import re

# what cameras call what is nobody's secret; the values of all other parameters are hidden
_HARMLESS = (
    "ch|chan|channel|channelid|subtype|stream|streamtype|streamid|profile|codec|videocodec|"
    "resolution|res|width|height|fps|framerate|camera|cam|transport|transportmode|proto|unicast|"
    "starttime|endtime|trackid"
)
# lengths are bounded, or a long text without an end would be gone through from each of its letters
_USER = re.compile(
    r"(\w[\w+.-]{0,30}:/{1,3}).*@", re.S
)  # passwords may hold / @ spaces, even new lines
_BARE = re.compile(r"[^\s/'\"=?&:]{1,256}:\S*@")  # user:password@host without a scheme
_NAMED = re.compile(
    r"(?i)(user\w{0,40}|login|account\w{0,40}|pass\w{0,40}|pwd|\bpw|token|secret|key|auth|signature|\bsig|\bsid"
    r"|session\w{0,40})=[^&;/?\s]*"
)
_PARAMETER = re.compile(rf"(?i)([?&;])(?!(?:{_HARMLESS})=)([\w%.\[\]-]+)=[^&;\s'\"]*")


def redacted(text: str) -> str:
    """``text``, or an address, without user, password and whatever else looks like a secret.

    Rather too much than too little goes: everything up to the last ``@`` after a scheme, and
    the values of all parameters that are not known to be harmless.
    """
    shown = text
    if "@" in text:
        shown = _USER.sub(r"\1", text)
        shown = _BARE.sub("", shown) if "://" not in text else shown
    return _PARAMETER.sub(r"\1\2=...", _NAMED.sub(r"\1=...", shown))


def holds_secret(address: str) -> bool:
    """Whether ``address`` must not be seen by others."""
    return redacted(address) != address
