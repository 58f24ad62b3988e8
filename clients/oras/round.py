"""Pushes a WASM module to the coordinator with ORAS, at once and in pieces, lists what is there and takes it back.

    round.py HOST:PORT MODULE.wasm

The environment has a token of a service account (DUNLIN_TOKEN) and the cluster's authority (REQUESTS_CA_BUNDLE). The library is found by
PYTHONPATH.
"""

import filecmp
import os
import sys
import tempfile

from oras.client import OrasClient

REPOSITORY = "team/oras"


def main():
    host, module = sys.argv[1:]
    client = OrasClient(hostname=host, auth_backend="basic")
    client.auth.set_basic_auth("any", os.environ["DUNLIN_TOKEN"])
    layer = f"{module}:application/wasm"
    for tag, in_pieces in (("whole", False), ("pieces", True)):
        answer = client.push(
            target=f"{host}/{REPOSITORY}:{tag}",
            files=[layer],
            disable_path_validation=True,
            do_chunked=in_pieces,
            chunk_size=CHUNK_BYTES,
        )
        assert answer.status_code == 201, (tag, answer.status_code, answer.text)
    tags = client.get_tags(f"{host}/{REPOSITORY}")
    assert sorted(tags) == ["pieces", "whole"], tags
    with tempfile.TemporaryDirectory() as folder:
        (pulled,) = client.pull(target=f"{host}/{REPOSITORY}:pieces", outdir=folder)
        assert filecmp.cmp(pulled, module, shallow=False), pulled
    print("done")


# Less than the smallest module, so that there are several.
CHUNK_BYTES = 4096

main()
