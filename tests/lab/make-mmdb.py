#!/usr/bin/env python3
"""Writes a small file of the MaxMind DB format (version 2.0), as GeoIP files are, for tests.

Usage: make-mmdb.py country|asn FILE BLOCK=VALUE ...      BLOCK: 192.0.2.0/24; VALUE: NO, or 64500

24-bit records in a tree of IPv6 addresses, IPv4 below ::/96; blocks must not overlap. Written from the format's
description, apart from the reader that it tries.
"""

import ipaddress
import sys

MARKER = b"\xab\xcd\xefMaxMind.com"
TEXT, UINT16, UINT32, MAP, UINT64, ARRAY = 2, 5, 6, 7, 9, 11


def field(kind, size, payload=b""):
    """A control byte, with the second one of kinds above 7, and what follows."""
    assert size < 29, "longer ones need more bytes"
    head = bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
    return head + payload


def number(kind, value):
    payload = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return field(kind, len(payload), payload)


def text(value):
    return field(TEXT, len(value), value.encode())


def mapping(pairs):
    return field(MAP, len(pairs), b"".join(text(key) + value for key, value in pairs))


def tree(blocks):
    """Nodes with two records each: None, ('node', number) or ('data', offset); and the data."""
    nodes, data = [[None, None]], b""
    for network, value in blocks:
        address, depth = int(network.network_address), network.prefixlen
        if network.version == 4:
            depth += 96
        here = 0
        for level in range(depth):
            side = address >> (127 - level) & 1
            if level + 1 == depth:
                assert nodes[here][side] is None, f"{network} overlaps"
                nodes[here][side] = ("data", len(data))
            else:
                if nodes[here][side] is None:
                    nodes.append([None, None])
                    nodes[here][side] = ("node", len(nodes) - 1)
                assert nodes[here][side][0] == "node", f"{network} overlaps"
                here = nodes[here][side][1]
        data += value
    return nodes, data


def record(entry, count):
    value = {"node": 0, "data": count + 16}[entry[0]] + entry[1] if entry else count
    return value.to_bytes(3, "big")


def document(kind, blocks):
    nodes, data = tree(blocks)
    search = b"".join(record(entry, len(nodes)) for node in nodes for entry in node)
    metadata = mapping([
        ("binary_format_major_version", number(UINT16, 2)),
        ("binary_format_minor_version", number(UINT16, 0)),
        ("build_epoch", number(UINT64, 1_700_000_000)),
        ("database_type", text("Test-" + kind)),
        ("description", mapping([])),
        ("ip_version", number(UINT16, 6)),
        ("languages", field(ARRAY, 0)),
        ("node_count", number(UINT32, len(nodes))),
        ("record_size", number(UINT16, 24)),
    ])
    return search + bytes(16) + data + MARKER + metadata


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("country", "asn"):
        sys.exit(__doc__)
    kind, path = sys.argv[1:3]
    blocks = []
    for argument in sys.argv[3:]:
        block, value = argument.split("=")
        if kind == "country":
            value = mapping([("country", mapping([("iso_code", text(value))]))])
        else:
            value = mapping([("autonomous_system_number", number(UINT32, int(value)))])
        blocks.append((ipaddress.ip_network(block), value))
    with open(path, "wb") as out:
        out.write(document(kind, blocks))


if __name__ == "__main__":
    main()
