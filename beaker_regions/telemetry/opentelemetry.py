"""Spans of OpenTelemetry (https://opentelemetry.io/docs/specs/otel/trace/api/) for calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from beaker_regions.telemetry.tracing import Call, watch


def trace_calls() -> None:
    """Make a span of every call of this process, inside the current span. Spans of its load are
    inside it."""
    watch(_span)


def is_configured() -> bool:
    """Whether the application has set a provider of tracers. Without one, spans are dropped."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def _span(call: Call) -> Iterator[None]:
    tracer = trace.get_tracer("beaker_regions")
    with tracer.start_as_current_span(call.function, kind=trace.SpanKind.INTERNAL) as span:
        try:
            yield
        finally:
            span.set_attributes(
                {
                    "regions.region": call.region,
                    "regions.function": call.function,
                    "regions.outcome": call.outcome,
                    "regions.round_trips": call.round_trips,
                }
            )
