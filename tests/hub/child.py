"""One download in a process of its own, to be killed or limited: `child.py ENDPOINT MODELS [MAX_FILE_BYTES]`.

Prints the folder, or the error as JSON with exit status 1.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from lqmf.errors import LqmfError
from lqmf.hub.client import HubClient
from lqmf.hub.download import fetch
from lqmf.hub.metadata import inspect
from lqmf.hub.transfer import TransferOptions
from lqmf.records import ModelRef
from lqmf.retry import RetryPolicy


async def main(endpoint: str, models: Path) -> None:
    retry = RetryPolicy(max_retries=2, base_seconds=0.01)
    hub = HubClient(endpoint=endpoint, token_provider=lambda: None, retry=retry)
    options = TransferOptions(connections=2, chunk_bytes=1 << 20, journal_bytes=64 << 10, retry=retry)
    info = await inspect(ModelRef("hub", "org/name"), hub=hub)
    folder = await fetch(info, models, hub=hub, emit=lambda _: None, options=options)
    sys.stdout.write(str(folder))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    try:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
    except LqmfError as error:
        sys.stdout.write(json.dumps(error.to_json()))
        sys.exit(1)
