"""Downloads a model's shards in order while their reader deletes each after use, so that few are on the disk at a time.

Knows marks and free room; knows no network and nothing of the reader of the shards. The reader marks a shard as used by
a file of the shard's path in the folder `used`, and then removes the shard from the partial folder. A marked shard is
not fetched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lqmf.hub import snapshots
from lqmf.records import ModelInfo, RemoteFile

AHEAD = 2  # one that is read, one that arrives

_SECONDS_BETWEEN_LOOKS = 0.1


def passing_bytes(info: ModelInfo, dest_root: Path, used: Path, ahead: int = AHEAD) -> int:
    """Return how many bytes `fetch_passing` adds to the disk at its peak: the small files and the `ahead` neighbouring
    shards that are largest, less the bytes that are already here. 0 where the model lies whole on this machine."""
    if snapshots.present(info, dest_root) is not None:
        return 0
    folder, linked = snapshots.partial_folder(dest_root, info), snapshots.reusable(info, dest_root)
    wanted = [f for f in info.files if f.path not in linked]
    shards = [f for f in snapshots.shards(info) if f in wanted and not (used / f.path).exists()]
    have = [snapshots.have(folder / f.path, f) for f in shards]
    small = [f for f in wanted if f not in snapshots.shards(info)]
    return sum(f.size_bytes - snapshots.have(folder / f.path, f) for f in small) + _growth(shards, have, ahead)


def forget_passing(info: ModelInfo, dest_root: Path) -> None:
    """Remove the files that `fetch_passing` left, when their reader is done; remove nothing while another process
    fetches the model."""
    from filelock import FileLock, Timeout

    folder = snapshots.partial_folder(dest_root, info)
    if folder.exists():
        with contextlib.suppress(Timeout), FileLock(folder.parent / snapshots.LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class ShardWindow:
    """The rule for when each shard may begin: at most `ahead` unused shards. `begun` are those admitted, used since or
    not."""

    folder: Path
    used: Path
    ahead: int
    begun: list[str] = field(default_factory=list)

    async def admit(self, shard: RemoteFile) -> bool:
        """Wait for room, then return whether to fetch the shard. False for a used shard, and for a shard that an
        earlier call fetched and verified: its reader may have it open, or be done with it at any moment."""
        if self._is_used(shard.path):
            (self.folder / shard.path).unlink(missing_ok=True)  # its reader was killed before it could
            return False
        whole = snapshots.is_whole(self.folder / shard.path, shard)
        while not whole and sum(not self._is_used(path) for path in self.begun) >= self.ahead:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        self.begun.append(shard.path)
        return not whole

    def _is_used(self, path: str) -> bool:
        return (self.used / path).exists()


def _growth(shards: Sequence[RemoteFile], have: Sequence[int], ahead: int) -> int:
    """Return the most bytes that the shards take at once beyond the bytes that they `have` now. When shard n is whole,
    the shards before its `ahead` - 1 predecessors are gone, and the shards after it take as many bytes as before."""
    sizes, most = [f.size_bytes for f in shards], 0
    for n in range(len(shards)):
        lying = sum(sizes[max(0, n + 1 - ahead) : n + 1]) + sum(have[n + 1 :])
        most = max(most, lying - sum(have))
    return most
