"""The script that AppTest runs: the boards over whatever the test has put into `given`."""

from dashboards import app
from dashboards.settings import BoardSettings
from tests.unit.dashboards import given

assert given.held is not None
app.main(given.held.store, given.held.state, BoardSettings(), given.held.clock)  # type: ignore[arg-type]
