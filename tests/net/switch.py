"""Joins network namespaces by a line with a delay, where the kernel has none of its own (netem).

`switch.py DELAY_MS JITTER_MS PID=ADDRESS...`: each process's namespace gets a TUN device `slow`; every IPv4 packet
between the addresses arrives DELAY_MS later, give or take JITTER_MS. Packets may overtake one another, as on real
networks. Prints `up` when all devices are there, and ends when its standard input does.
"""

import fcntl
import heapq
import ipaddress
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1400
# What one device may send before the others get their turn.
BURST = 64
# Packets on their way; further ones are lost, as in a switch whose buffer is full.
BUFFER = 50_000


def attach(number, pid):
    """A device in the namespace of the process; gives its descriptor, which stays here."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"line{number}"
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.check_call(["ip", "link", "set", name, "mtu", str(MTU), "name", "slow"])
    subprocess.check_call(["ip", "link", "set", "slow", "netns", pid])
    return device


def main():
    delay, jitter = (float(word) / 1000 for word in sys.argv[1:3])
    devices = {}
    for number, word in enumerate(sys.argv[3:]):
        pid, _, address = word.partition("=")
        devices[ipaddress.IPv4Address(address).packed] = attach(number, pid)
    print("up", flush=True)

    on_their_way, sequence = [], 0
    while True:
        wait = max(0.0, on_their_way[0][0] - time.monotonic()) if on_their_way else None
        readable, _, _ = select.select([sys.stdin, *devices.values()], [], [], wait)
        if sys.stdin in readable:
            return
        for device in readable:
            for _ in range(BURST):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                to = devices.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                if to is None or len(on_their_way) >= BUFFER:
                    continue
                sequence += 1
                due = time.monotonic() + max(0.0, random.gauss(delay, jitter))
                heapq.heappush(on_their_way, (due, sequence, to, packet))
        while on_their_way and on_their_way[0][0] <= time.monotonic():
            _, _, to, packet = heapq.heappop(on_their_way)
            try:
                os.write(to, packet)
            except OSError:
                # The device is down, or its queue is full: the packet is lost.
                pass


if __name__ == "__main__":
    main()
