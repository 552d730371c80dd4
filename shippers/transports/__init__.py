"""Ways to a gateway or a journal: one module each, all behind `protocol.Transport`."""
