from pathlib import Path

import pytest

from orchestrator.journal.sqlite.ownership import file_system

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 22 0:29 / /data rw,relatime shared:9 - nfs4 nas:/export rw,vers=4.2
32 31 0:30 / /data/local rw - xfs /dev/vdb rw
33 22 0:31 / /mnt/with\\040space rw - fuse.sshfs host:/ rw
34 32 0:32 / /data/local rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/journal.db", "ext4"),
        ("/data/journal.db", "nfs4"),
        ("/database/journal.db", "ext4"),
        ("/data/local/journal.db", "tmpfs"),
        ("/mnt/with space/journal.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_tells_the_kind(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_without_mounts_nothing_is_known() -> None:
    assert file_system(Path("/srv/journal.db"), "") == ""
