"""The guard as it is configured by default, on a machine that has everything.

In a network namespace of its own the loopback device gets a public address, a private one and that
of a cloud's metadata, and a server listens at port 80 of each. Nothing is allowed beyond the
defaults, and the resolver is the system's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTER = """
ip link set lo up
for address in 93.184.216.34/32 10.0.0.1/32 169.254.169.254/32 100.100.100.200/32; do
    ip address add $address dev lo
done
ip -6 address add 2606:4700::1111/128 dev lo nodad
ip -6 address add fd00:ec2::254/128 dev lo nodad
exec "$0" -m tests.net.inside
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")
def test_the_internet_is_reached_and_nothing_nearer() -> None:
    argv = ["unshare", "--net", "sh", "-e", "-c", ENTER, sys.executable]

    run = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["fetched"] == {
        "http://93.184.216.34/": "public",
        "http://1572395042/": "public",
        "http://[2606:4700::1111]/": "public",
        "http://[::ffff:93.184.216.34]/": "public",
    }
    assert len(told["refused"]) > 15
    assert told["visitors_of_private_addresses"] == 0
