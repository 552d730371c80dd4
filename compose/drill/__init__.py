"""`lastbeat drill`: breaks real parts on a seeded schedule and audits from the senders' own logs."""
