"""What a new process does for one state: import the library, open the store, ask.

`python -m scripts.benches.log_cold STORE TASK AT_US PROJECTION` prints the milliseconds of each.
"""

import sys
import time

began = time.perf_counter()

import json  # noqa: E402

from backcast.domain.moment import Moment  # noqa: E402
from backcast.engine.history.snapshots import state_at  # noqa: E402
from backcast.engine.log.codec import from_microseconds  # noqa: E402
from backcast.engine.log.store import EventStore  # noqa: E402
from backcast.projections import BY_NAME  # noqa: E402

imported = time.perf_counter()
path, task_id, at_us, name = sys.argv[1:]
with EventStore.open(f"sqlite:///{path}", create=False) as store:
    opened = time.perf_counter()
    state_at(store, BY_NAME[name], task_id, Moment(at=from_microseconds(int(at_us))))
    done = time.perf_counter()
said = {"imports": imported - began, "opening": opened - imported, "the state": done - opened}
print(json.dumps({what: taken * 1000 for what, taken in said.items()}))
