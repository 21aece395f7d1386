"""`isoloss` as users have it, with a fork server that loads tests.faults.often: python -m tests.faults.cli run …"""

from __future__ import annotations

import sys
from functools import partial

from isoloss import cli
from isoloss.runtime.executors.hosts import executor as hosts
from isoloss.runtime.executors.local import executor as local

PRELOAD = (*local.PRELOAD, "tests.faults.often")

if __name__ == "__main__":
    local.LocalExecutor = partial(local.LocalExecutor, preload=PRELOAD)  # type: ignore[misc, assignment]
    hosts.HostsExecutor = partial(hosts.HostsExecutor, preload=PRELOAD)  # type: ignore[misc, assignment]
    sys.exit(cli.main())
