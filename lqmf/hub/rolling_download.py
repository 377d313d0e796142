"""A model that shall not stay: its shards are fetched in order, and their reader drops each, few on the disk at a time.

Knows marks and room; knows no network and nothing of what reads the shards. The reader marks a shard as used by a file
of the shard's path in the folder `used`, and then removes the shard from the partial folder. A marked shard is not
fetched again.
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
    """How many bytes more than now lie on the disk at the most while `fetch_passing` runs: the small files and the
    `ahead` neighbouring shards that are largest, less what is here. 0 where the model lies whole on this machine."""
    if snapshots.present(info, dest_root) is not None:
        return 0
    folder, linked = snapshots.partial_folder(dest_root, info), snapshots.reusable(info, dest_root)
    wanted = [f for f in info.files if f.path not in linked]
    shards = [f for f in snapshots.shards(info) if f in wanted and not (used / f.path).exists()]
    have = [snapshots.have(folder / f.path, f) for f in shards]
    small = [f for f in wanted if f not in snapshots.shards(info)]
    return sum(f.size_bytes - snapshots.have(folder / f.path, f) for f in small) + _growth(shards, have, ahead)


def forget_passing(info: ModelInfo, dest_root: Path) -> None:
    """Remove what `fetch_passing` left, when its reader is done; nothing while another process fetches the model."""
    from filelock import FileLock, Timeout

    folder = snapshots.partial_folder(dest_root, info)
    if folder.exists():
        with contextlib.suppress(Timeout), FileLock(folder.parent / snapshots.LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class ShardWindow:
    """When each shard may begin: `begun` are those that were let in, used since or not."""

    folder: Path
    used: Path
    ahead: int
    begun: list[str] = field(default_factory=list)

    async def admit(self, shard: RemoteFile) -> bool:
        """Wait for room. False for a shard that was used, and for one that an earlier call fetched and verified: its
        reader may have it open, or be done with it at any moment."""
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
    """The most that the shards take at once beyond the bytes that they `have` now: when shard n is whole, those
    before its `ahead` - 1 predecessors are gone, and of those after it lies what lay before."""
    sizes, most = [f.size_bytes for f in shards], 0
    for n in range(len(shards)):
        lying = sum(sizes[max(0, n + 1 - ahead) : n + 1]) + sum(have[n + 1 :])
        most = max(most, lying - sum(have))
    return most
