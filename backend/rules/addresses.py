"""Network addresses: the one form by which clients are told apart, and which of them anybody may be sent to."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
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


NAT64: Final = IPv6Network("64:ff9b::/96")
UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given to anybody on the internet (IANA)."""
NEAR: Final = IPv6Network("2002::/16"), IPv6Network("2001::/32"), IPv4Network("168.63.129.16/32")
"""6to4 and Teredo, IPv4 in disguise on which nobody serves anything; and what answers every machine at Azure."""


def is_reachable(address: str, networks: Iterable[str] = (), *, internet: bool = True) -> bool:
    """Whether it is one of the internet's own, unless that is left out, or in one of these networks.

    Of `::ffff:…` and NAT64, it is asked of the IPv4 in it.

    What is left out are the special-purpose registries of RFC 6890, multicast and tunnels. Raises ValueError for what
    is no address.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or (IPv4Address(int(found) & 0xFFFFFFFF) if found in NAT64 else found)
    if any(found in ip_network(each) for each in networks):
        return True
    if not internet or (isinstance(found, IPv6Address) and found not in UNICAST):
        return False
    return found.is_global and not found.is_multicast and not any(found in each for each in NEAR)
