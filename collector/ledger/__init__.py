"""The ledger: of every stream, which numbers each sink has stored, buried or keeps as void; and who lies."""
