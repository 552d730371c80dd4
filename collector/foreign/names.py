"""How others spell what we have a field for: Elastic's schema nested or with dots, and the log libraries' own names.

Tables only; a new spelling is one word here.
"""

from __future__ import annotations

TIMES = ("@timestamp", "timestamp", "time", "ts", "datetime", "asctime", "eventTime", "event_time", "@t")

TEXTS = {
    "service": ("service.name", "service", "service_name", "serviceName", "app", "application", "app_name", "appName"),
    "version": ("service.version", "version", "app_version"),
    "environment": ("service.environment", "environment", "env"),
    "instance": ("service.node.name", "instance", "instance_id", "pod", "kubernetes.pod.name"),
    "zone": ("cloud.availability_zone", "availability_zone", "zone"),
    "host": ("host.name", "host", "hostname", "host_name"),
    "logger": ("log.logger", "logger", "logger_name", "loggerName"),
}
"""Our field, and what it is called elsewhere."""

NUMBERED = ("log.level", "level", "severity", "levelname", "lvl", "loglevel", "level_name", "log_level", "severityText",
    "levelno", "severityNumber", "severity_number")  # fmt: skip
"""Names of levels, in words or numbers."""

LEVELS = {
    **dict.fromkeys(("trace", "verbose", "debug", "finest", "finer", "fine", "d"), "DEBUG"),
    **dict.fromkeys(("info", "information", "informational", "notice", "i"), "INFO"),
    **dict.fromkeys(("warn", "warning", "w"), "WARNING"),
    **dict.fromkeys(("err", "error", "severe", "e"), "ERROR"),
    **dict.fromkeys(("fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "f", "c"), "CRITICAL"),
}

RENAMED = {
    **dict.fromkeys(("traceId", "traceID", "traceid", "otelTraceID"), "trace_id"),
    **dict.fromkeys(("spanId", "spanID", "spanid", "otelSpanID"), "span_id"),
    **dict.fromkeys(("transactionId", "transactionID"), "transaction_id"),
    **dict.fromkeys(("err.type", "error.kind", "exception.type"), "error.type"),
    **dict.fromkeys(("error", "err", "err.message", "error_message", "exception.message"), "error.message"),
}
"""What the shipper's own rules (shippers.fields) know by another name."""

DURATIONS = {
    **dict.fromkeys(("event.duration", "duration_ns"), 1),
    **dict.fromkeys(("duration_us", "latency_us", "elapsed_us"), 1e3),
    **dict.fromkeys(("duration_ms", "latency_ms", "elapsed_ms", "durationMs", "latencyMs", "response_time_ms"), 1e6),
    **dict.fromkeys(("duration_s", "latency_s", "elapsed_s", "duration_seconds"), 1e9),
}
"""Names that say their unit, and how many nanoseconds that is."""

UNITLESS = ("duration", "latency", "elapsed")
"""Names that don't: kept as measures, for a wrong guess would be a thousandfold."""


def level_of_number(name: str, value: object) -> str | None:
    """A level that is a number: OpenTelemetry's, syslog's (0 to 7), else pino's and bunyan's tens; Python's `levelno`
    differs from these by ten."""
    if type(value) is not int or not 0 <= value <= 100:
        return None
    if name in ("severityNumber", "severity_number"):
        return ("DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")[min(5, max(0, value - 1) // 4)]
    if name == "levelno":
        value += 10
    elif value <= 7:
        return ("CRITICAL", "CRITICAL", "CRITICAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")[value]
    return ("DEBUG", "DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")[min(6, value // 10)]
