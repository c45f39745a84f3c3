"""Announces invented peers by multicast DNS, as libp2p does: storm.py COUNT. Each says that it stays for 136 years."""

import os
import socket
import struct
import sys
import time

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SERVICE = b"\x04_p2p\x04_udp\x05local\x00"
FOREVER = 0xFFFF_FFFF
PTR, TXT, ANSWER = 12, 16, 0x8001


def peer_id():
    """The id of some Ed25519 key: any 32 bytes will do."""
    number = int.from_bytes(bytes.fromhex("002408011220") + os.urandom(32), "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    # The first byte is a zero, which the number does not show.
    return "1" + text


def record(name, kind, data):
    return name + struct.pack("!HHIH", kind, ANSWER, FOREVER, len(data)) + data


def announcement():
    name = b"\x20" + os.urandom(16).hex().encode() + SERVICE
    said = f"dnsaddr=/ip4/10.0.0.1/tcp/4001/p2p/{peer_id()}".encode()
    header = struct.pack("!HHHHHH", 0, 0x8400, 0, 1, 0, 1)
    return header + record(SERVICE, PTR, name) + record(name, TXT, bytes([len(said)]) + said)


def main():
    outlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outlet.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    for _ in range(int(sys.argv[1])):
        outlet.sendto(announcement(), ("224.0.0.251", 5353))
        # So that no buffer on the way overflows.
        time.sleep(0.001)


main()
