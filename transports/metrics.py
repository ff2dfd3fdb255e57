"""Metrics: the figures as Prometheus reads them. The only place that knows its library, which the extra `metrics` installs.

    GET <mount>/metrics                                  ours, of all workers that share the socket
    prometheus_client.REGISTRY.register(Collector(hub))  beside the figures of your own, where you show those

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .errors import MissingExtraError
from .figures import FIGURES, Figure, Labels, Snapshot, Value, of_worker, total
from .hub import Hub

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def all_figures(hub: Hub) -> Snapshot:
    """Those of this process, and of all others that share its socket."""
    if hub.board is None:
        return of_worker(hub.snapshot(), "1")
    found = hub.snapshot()
    hub.board.tell(found)  # before anybody has seen it: who answers next must not say less
    return total([of_worker(found, str(hub.board.number)), *hub.board.others()])


class Collector:
    """What a registry of `prometheus_client` is given, of ours or of yours.

    Args:
        hub: whose figures.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client. Raises: MissingExtraError, it is not installed."""
        found = all_figures(self._hub)
        for figure in FIGURES:
            yield _family(figure, found.get(figure.name, {}))

    def describe(self) -> Iterator[Metric]:
        """See prometheus_client: what is registered is known without looking at it."""
        for figure in FIGURES:
            yield _family(figure, {})


def exposition(hub: Hub, accept: str) -> tuple[bytes, str]:
    """All figures, and the content type of that. `accept`: the header of the request; OpenMetrics is for who asks for it.

    Raises: MissingExtraError.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise MissingExtraError("metrics", "prometheus-client") from error
    registry = CollectorRegistry()
    registry.register(Collector(hub))
    encoder, kind = choose_encoder(accept)
    return encoder(registry), kind


def _family(figure: Figure, values: dict[Labels, Value]) -> Metric:
    try:
        from prometheus_client import core
    except ImportError as error:
        raise MissingExtraError("metrics", "prometheus-client") from error
    if figure.kind == "histogram":
        histogram: Any = core.HistogramMetricFamily(figure.name, figure.meaning, labels=figure.labels)
        for labels, value in sorted(values.items()):
            assert isinstance(value, list)  # noqa: S101 - see `Value`
            bounds = [*map(str, figure.bounds), "+Inf"]
            histogram.add_metric(labels, list(zip(bounds, accumulate(value[:-1]), strict=True)), value[-1])
        return histogram  # type: ignore[no-any-return]
    gauge = figure.kind == "gauge"
    names = (*figure.labels, "worker") if gauge else figure.labels
    family: Any = (core.GaugeMetricFamily if gauge else core.CounterMetricFamily)(figure.name, figure.meaning, labels=names)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family  # type: ignore[no-any-return]
