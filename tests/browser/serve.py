"""Serves `boards.py` of this folder with the boards' own options, as the launcher does: `python serve.py PORT`."""

import sys
from pathlib import Path

from streamlit.web import bootstrap

from dashboards.theme import streamlit_options

flags = {**streamlit_options(), "server.address": "127.0.0.1", "server.port": int(sys.argv[1])}
options = {name.replace(".", "_"): value for name, value in flags.items()}
bootstrap.load_config_options(options)
bootstrap.run(str(Path(__file__).with_name("boards.py")), False, [], options)
