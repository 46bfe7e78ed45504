"""What went wrong when packages were installed, from what pip printed: in words, with what to do."""

from __future__ import annotations

import re

from ..core.errors import GenesisError, NetworkError, ResourceError
from ..core.i18n import _

_PROXY = ("ProxyError", "Cannot connect to proxy", "407 Proxy", "Tunnel connection failed")
_CERTIFICATE = ("CERTIFICATE_VERIFY_FAILED", "SSLError", "SSLCertVerificationError")
_NETWORK = (
    *("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionResetError"),
    *("Failed to establish a new connection", "getaddrinfo failed", "Temporary failure in name resolution"),
    *("Network is unreachable", "Connection timed out", "Read timed out", "Connection broken", "ProtocolError"),
)
_DISK = ("No space left on device", "Errno 28", "not enough space on the disk", "Disk quota exceeded")
_LOCKED = ("Permission denied", "Access is denied", "WinError 5]", "WinError 32]", "Errno 13")
_NO_VERSION = ("No matching distribution found", "Could not find a version", "ResolutionImpossible")
_ERROR_LINE = re.compile(r"^\s*(?:ERROR|error):\s*(.+)$", re.MULTILINE)


def explained(log: str) -> GenesisError:
    """The error to raise for a failed installation whose output was ``log``."""

    def says(words: tuple[str, ...]) -> bool:
        return any(word in log for word in words)

    offline = _("Or install from a folder of wheels, without internet: see the documentation.")
    if says(_DISK):
        return ResourceError(
            _("The packages could not be installed: the disk is full."), _("Free some space, then press Install again.")
        )
    if says(_PROXY):
        return NetworkError(
            _("The packages could not be fetched: the proxy refused the connection."),
            _("Ask for the address of the proxy, set it as HTTPS_PROXY and restart Slicer.") + " " + offline,
        )
    if says(_CERTIFICATE):
        return NetworkError(
            _("The packages could not be fetched: the connection is not trusted, as behind some firewalls."),
            _("Ask those who run the network for access to the Python package index.") + " " + offline,
        )
    if says(_NETWORK):
        return NetworkError(
            _("The packages could not be fetched: the Python package index does not answer."),
            _("Check the internet connection and the firewall, then press Install again.") + " " + offline,
        )
    if says(_LOCKED):
        return GenesisError(
            _("The packages could not be installed: files of Slicer's Python are in use or protected."),
            _("Restart Slicer and press Install again before anything else; Slicer's folder must be writable."),
        )
    if says(_NO_VERSION):
        return GenesisError(
            _("The packages could not be installed: no version fits this Slicer: {reason}").format(reason=_last(log)),
            _("Use the newest Slicer, and update GenesisSegment in the Extensions Manager."),
        )
    return GenesisError(
        _("The packages could not be installed: {reason}").format(reason=_last(log)),
        _("Slicer's error log has all that pip said. Press Install to try again."),
    )


def _last(log: str) -> str:
    """The last line in which pip names an error, or the last line of all."""
    errors = _ERROR_LINE.findall(log)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return (errors or lines or [_("pip did not say why.")])[-1][:300]
