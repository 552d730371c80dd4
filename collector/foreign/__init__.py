"""Foreign producers straight on Kafka: one JSON object a record, brought to the event schema, sealed into batches."""
