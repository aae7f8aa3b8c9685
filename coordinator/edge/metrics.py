"""What is measured, declared in one place; units are the last word of the name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..market.events import (
    Event,
    IntervalSettled,
    OrderPlaced,
    SettlementConfirmed,
    Stage,
    Traded,
)
from ..protocol.messages import Side

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """The coordinator's metrics, counted since the process started."""

    def __init__(self, interval_s: int) -> None:
        """Make a registry of its own, so that two coordinators in one process do not mix."""
        self._interval_s = interval_s
        registry = self._registry = CollectorRegistry()
        orders = Counter("energy_trade_orders", "Orders accepted", ["side"], registry=registry)
        self._orders = {side: orders.labels(side.value) for side in Side}
        trades = Counter("energy_trade_trades", "Trades made", ["stage"], registry=registry)
        self._trades = {stage: trades.labels(stage.value) for stage in Stage}
        self._traded_wh = Counter("energy_trade_traded_wh", "Energy traded, Wh", registry=registry)
        self._settled_wh = Counter("energy_trade_settled_wh", "Energy settled after metering, Wh", registry=registry)
        self._settled_micro = Counter(
            "energy_trade_settled_value_micro", "Value settled, 1e-6 of the currency", registry=registry
        )
        self._readings = Counter("energy_trade_readings", "Readings stored", registry=registry)
        self._refused = Counter("energy_trade_refusals", "Requests refused", ["code"], registry=registry)
        self._settlements = Counter("energy_trade_settlements", "Batches confirmed on chain", registry=registry)
        self._gas = Counter("energy_trade_settlement_gas", "Gas used by confirmed batches", registry=registry)
        self._lag = Histogram(
            "energy_trade_settlement_lag_seconds",
            "From the end of delivery to the confirmation on chain",
            buckets=_LAG_S,
            registry=registry,
        )
        self._requests = Histogram(
            "energy_trade_request_seconds",
            "Time to answer a request",
            ["method", "route", "status"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._answers: dict[tuple[str, str, int], Histogram] = {}
        self._streams = Gauge("energy_trade_stream_clients", "Open streams", registry=registry)
        self._slow = Counter("energy_trade_stream_slow_clients", "Streams closed as too slow", registry=registry)

    def gauge(self, name: str, help_text: str, value: Callable[[], int]) -> None:
        """Add a gauge that asks ``value`` whenever it is read."""
        Gauge(f"energy_trade_{name}", help_text, registry=self._registry).set_function(lambda: float(value()))

    def gauges(self, name: str, help_text: str, label: str, values: Mapping[str, Callable[[], int | None]]) -> None:
        """Add a gauge for each value of a label; one that has nothing to show is not a number."""
        gauge = Gauge(f"energy_trade_{name}", help_text, [label], registry=self._registry)
        for of, value in values.items():
            gauge.labels(of).set_function(partial(_number, value))

    def happened(self, event: Event, at: int) -> None:
        """Count an event of the log."""
        match event:
            case OrderPlaced(order=order):
                self._orders[order.side].inc()
            case Traded():
                self._trades[event.stage].inc()
                self._traded_wh.inc(event.energy_wh)
            case IntervalSettled():
                self._settled_wh.inc(sum(trade.settled_wh for trade in event.trades))
                self._settled_micro.inc(sum(trade.value_micro for trade in event.trades))
            case SettlementConfirmed():
                self._settlements.inc()
                self._gas.inc(event.gas_used)
                self._lag.observe(max(0, at - event.delivery_start - self._interval_s))
            case _:
                pass

    def reading_stored(self) -> None:
        """Count a reading that is durable and new."""
        self._readings.inc()

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(code).inc()

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Note how long an answer took."""
        answers = self._answers.get((method, route, status))
        if answers is None:
            answers = self._answers[method, route, status] = self._requests.labels(method, route, str(status))
        answers.observe(took_s)

    def stream_opened(self) -> None:
        """Count a stream in."""
        self._streams.inc()

    def stream_closed(self, *, slow: bool) -> None:
        """Count a stream out."""
        self._streams.dec()
        if slow:
            self._slow.inc()

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _number(value: Callable[[], int | None]) -> float:
    number = value()
    return math.nan if number is None else float(number)
