"""Questions to the telemetry: health, metrics, Prometheus."""
