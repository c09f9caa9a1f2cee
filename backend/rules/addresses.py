"""A client's address in the one form by which clients are told apart."""

from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final

UNKNOWN: Final = "unknown"
IPV6_BITS: Final = 64  # one subscriber has a whole /64 and changes addresses in it at will (RFC 8981)


def client_address(scope: Mapping[str, Any]) -> str:
    """Of an ASGI scope: IPv4 as it is, IPv6 as its /64 network, IPv4 inside IPv6 as IPv4.

    `unknown` when there is none (a Unix socket) or it is no address. Behind a proxy it is the client's own only
    if TRUSTED_PROXIES names the proxy.
    """
    client = scope.get("client")
    try:
        address = ip_address(client[0]) if client else None
    except ValueError:
        return UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address or UNKNOWN)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), IPV6_BITS), strict=False))
