"""One peer's order book on the common workload, in the peers' own environment: ``peer_engines.py PEER < operations``.

Reads JSON lines ``["new", number, "buy" or "sell", quantity, price or null]`` and ``["cancel", number]``; prints JSON:
CPU seconds and the quantity traded (``null`` where the peer does not tell). Preparing its own order objects is not
timed where the peer lets one prepare them. Imports nothing of ours, for ours needs a newer Python.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from time import process_time
from typing import Any

type Operation = list[Any]
type Outcome = tuple[float, float | None]

_FAR = {"buy": 10**6, "sell": 1}
"""A limit that takes any price, for peers without market orders; what remains is cancelled."""


def matching_engine(operations: list[Operation]) -> Outcome:
    """Every order has an account of its own: the peer prevents self-trades as ours does."""
    peer: Any = importlib.import_module("matching_engine")
    engine = importlib.import_module("matching_engine.engine").MatchingEngine()
    trade = importlib.import_module("matching_engine.events").Trade
    sides = {"buy": peer.Side.BUY, "sell": peer.Side.SELL}
    commands = []
    for sequence, (name, number, *rest) in enumerate(operations, 1):
        command: Any = peer.CancelOrder(number, number)
        if name == "new" and rest[2] is None:
            market = peer.OrderType.MARKET, peer.TimeInForce.IOC
            command = peer.NewOrder(number, number, sides[rest[0]], 0, rest[1], *market)
        elif name == "new":
            command = peer.NewOrder(number, number, sides[rest[0]], rest[2], rest[1])
        commands.append(peer.SequencedCommand(sequence, sequence, command))
    events, process = [], engine.process
    began = process_time()
    for sequenced in commands:
        events.append(process(sequenced))  # noqa: PERF401 - as ours is measured
    spent = process_time() - began
    return spent, sum(event.qty for told in events for event in told if isinstance(event, trade))


def limit_order_book(operations: list[Operation]) -> Outcome:
    """A book that returns no fills."""
    book = importlib.import_module("limit_order_book").LimitOrderBook()
    limit = {"buy": book.limit_buy, "sell": book.limit_sell}
    market = {"buy": book.market_buy, "sell": book.market_sell}
    entered = sum(rest[1] for name, _, *rest in operations if name == "new")
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            if book.has(number):
                book.cancel(number)
        elif rest[2] is None:
            market[rest[0]](number, rest[1])
        else:
            limit[rest[0]](number, rest[1], rest[2])
    return process_time() - began, None if entered else 0


def orderly_chaos(operations: list[Operation]) -> Outcome:
    """C++ through ctypes."""
    peer: Any = importlib.import_module("orderly_chaos")
    book = peer.LimitOrderBook()
    sides = {"buy": peer.Side.BUY, "sell": peer.Side.SELL}
    traded = 0
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            with suppress(peer.UnknownOrderIdError):
                book.cancel(number)
        elif rest[2] is None:
            traded += book.market(sides[rest[0]], number, rest[1])
        else:
            traded += book.limit(sides[rest[0]], number, rest[1], rest[2])
    return process_time() - began, traded


def lightmatchingengine(operations: list[Operation]) -> Outcome:
    """It numbers its orders itself; a price of 0 is a market order, which rests there, so it is cancelled."""
    peer: Any = importlib.import_module("lightmatchingengine.lightmatchingengine")
    engine, sides = peer.LightMatchingEngine(), {"buy": peer.Side.BUY, "sell": peer.Side.SELL}
    own: dict[int, int] = {}
    traded = 0
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            with suppress(AssertionError):  # how it says that the order was filled
                engine.cancel_order(own[number], "x")
            continue
        price = _FAR[rest[0]] if rest[2] is None else rest[2]
        order, _ = engine.add_order("x", price, rest[1], sides[rest[0]])
        own[number] = order.order_id
        traded += order.cum_qty
        if rest[2] is None and order.leaves_qty:
            engine.cancel_order(order.order_id, "x")
    return process_time() - began, traded


def pyorderbook(operations: list[Operation]) -> Outcome:
    """Decimal prices; no market orders."""
    peer: Any = importlib.import_module("pyorderbook")
    book, make = peer.Book(), {"buy": peer.bid, "sell": peer.ask}
    orders = {
        number: make[rest[0]]("x", float(_FAR[rest[0]] if rest[2] is None else rest[2]), rest[1])
        for name, number, *rest in operations
        if name == "new"
    }
    entered = sum(order.quantity for order in orders.values())
    began = process_time()
    cancelled = 0
    for name, number, *rest in operations:
        order = orders[number]
        if name == "new":
            book.match(order)
        if (name == "cancel" or rest[2] is None) and book.get_order(order.id) is not None:
            cancelled += order.quantity
            book.cancel(order)
    spent = process_time() - began
    left = sum(order.quantity for order in orders.values() if book.get_order(order.id) is not None)
    return spent, (entered - cancelled - left) / 2


def litebook(operations: list[Operation]) -> Outcome:
    """Quantities as binary fractions; no market orders."""
    peer: Any = importlib.import_module("litebook")
    book, sides = peer.OrderBook(tick_size=1.0), {"buy": peer.OrderType.Buy, "sell": peer.OrderType.Sell}
    own: dict[int, str] = {}
    fills = []
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            book.cancel(own[number])
            continue
        price = _FAR[rest[0]] if rest[2] is None else rest[2]
        order = book.create_order(sides[rest[0]], float(price), float(rest[1]))
        own[number] = order.id
        fills.append(book.add(order))
        if rest[2] is None:
            book.cancel(order.id)
    return process_time() - began, sum(fill.quantity for told in fills for fill in told)


def cython_orderbook(operations: list[Operation]) -> Outcome:
    """It tells trades in a log, and leaves what remains of a market order out of the book."""
    peer: Any = importlib.import_module("cython_orderbook")
    book, sides = peer.OrderBook(), {"buy": peer.OrderSide.BID, "sell": peer.OrderSide.ASK}
    orders = {
        number: peer.Order(sides[rest[0]], rest[1]) if rest[2] is None else peer.Order(sides[rest[0]], rest[1], rest[2])
        for name, number, *rest in operations
        if name == "new"
    }
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            with suppress(KeyError, ValueError):
                book.cancel_order(orders[number].order_id)
        elif rest[2] is None:
            book.add_market_order(orders[number])
        else:
            book.add_limit_order(orders[number])
    return process_time() - began, sum(trade.quantity_filled for trade in book.trade_log)


def tracebook(operations: list[Operation]) -> Outcome:
    """The engine of a conformance suite."""
    peer: Any = importlib.import_module("tracebook")
    book, sides = peer.OrderBook("x", tick_size=1.0), {"buy": peer.OrderSide.BUY, "sell": peer.OrderSide.SELL}
    own: dict[int, int] = {}
    traded = 0
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            book.cancel_order(own[number])
        elif rest[2] is None:
            traded += sum(trade.quantity for trade in book.submit_market_order(sides[rest[0]], rest[1]).trades)
        else:
            result = book.submit_limit_order(sides[rest[0]], rest[2], rest[1])
            own[number] = result.order.order_id
            traded += sum(trade.quantity for trade in result.trades)
    return process_time() - began, traded


def obook(operations: list[Operation]) -> Outcome:
    """Go through ctypes; fills are read from its events."""
    peer: Any = importlib.import_module("obook")
    own: dict[int, int] = {}
    traded = 0
    with peer.Book(max_orders=len(operations)) as book:
        sides = {"buy": peer.BUY, "sell": peer.SELL}
        began = process_time()
        for name, number, *rest in operations:
            if name == "cancel":
                book.cancel(own[number], 1 + number)
            else:
                kind = peer.LIMIT if rest[2] is not None else peer.MARKET
                tif = peer.GTC if rest[2] is not None else peer.IOC
                result = book.submit(1 + number, sides[rest[0]], rest[2] or 0, rest[1], kind, tif)
                own[number] = result.order_id
            traded += sum(event.qty for event in book.events() if event.kind is peer.EventKind.TRADE)
        spent = process_time() - began
    return spent, traded


def fastlob(operations: list[Operation]) -> Outcome:
    """Decimal prices; no market orders."""
    peer: Any = importlib.import_module("fastlob")
    importlib.import_module("logging").disable()
    sides = {"buy": peer.OrderSide.BID, "sell": peer.OrderSide.ASK}
    wanted = {
        number: peer.OrderParams(sides[rest[0]], _FAR[rest[0]] if rest[2] is None else rest[2], rest[1])
        for name, number, *rest in operations
        if name == "new"
    }
    own: dict[int, str] = {}
    with peer.Orderbook() as book:
        began = process_time()
        for name, number, *rest in operations:
            if name == "new":
                own[number] = book(wanted[number]).orderid()
            if name == "cancel" or rest[2] is None:
                with suppress(KeyError):  # how it says that the order was filled
                    book.cancel(own[number])
        spent = process_time() - began
    return spent, None


def nanobook(operations: list[Operation]) -> Outcome:
    """Rust; it numbers its orders itself."""
    peer: Any = importlib.import_module("nanobook")
    exchange = peer.Exchange()
    own: dict[int, int] = {}
    began = process_time()
    for name, number, *rest in operations:
        if name == "cancel":
            exchange.cancel(own[number])
        elif rest[2] is None:
            exchange.submit_market(rest[0], rest[1])
        else:
            own[number] = exchange.submit_limit(rest[0], rest[2], rest[1]).order_id
    return process_time() - began, sum(trade.quantity for trade in exchange.trades())


PEERS: dict[str, Callable[[list[Operation]], Outcome]] = {
    "matching-engine": matching_engine,
    "limit-order-book": limit_order_book,
    "orderly-chaos": orderly_chaos,
    "cython-orderbook": cython_orderbook,
    "litebook": litebook,
    "lightmatchingengine": lightmatchingengine,
    "pyorderbook": pyorderbook,
    "tracebook-conformance": tracebook,
    "obook": obook,
    "fastlob": fastlob,
    "nanobook": nanobook,
}


if __name__ == "__main__":
    cpu_s, quantity = PEERS[sys.argv[1]]([json.loads(line) for line in sys.stdin])
    print(json.dumps({"cpu_s": cpu_s, "traded": quantity}))
