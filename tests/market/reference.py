"""Slow, obvious second engines: the oracles of the market's tests."""

from __future__ import annotations

from typing import Any


class SlowBook:
    """Continuous trading on one list, searched from end to end for every fill."""

    def __init__(self) -> None:
        self.rest: list[dict[str, Any]] = []
        self.trades: list[list[Any]] = []
        self.cancelled: list[list[Any]] = []
        self.rejected: list[str] = []

    def handle(self, name: str, key: str, *rest: Any) -> None:
        alive = [order for order in self.rest if order["key"] == key]
        energy_wh = 1 if name == "cancel" else rest[-3] if name == "new" else rest[0]
        if bool(alive) == (name == "new") or energy_wh < 1:
            self.rejected.append(key)
        elif name == "cancel":
            self.rest.remove(alive[0])
            self.cancelled.append([key, alive[0]["wh"]])
        elif name == "modify" and rest[1] == alive[0]["price"] and rest[0] < alive[0]["wh"]:
            alive[0]["wh"] = rest[0]
        elif name == "modify":
            self.rest.remove(alive[0])
            self.enter({**alive[0], "wh": rest[0], "price": rest[1]}, "gtc")
        else:
            self.enter({"key": key, "side": rest[0], "wh": rest[1], "price": rest[2]}, rest[3])

    def enter(self, new: dict[str, Any], lifetime: str) -> None:
        sign = 1 if new["side"] == "buy" else -1
        others = [order for order in self.rest if order["side"] != new["side"]]
        others = [o for o in others if new["price"] is None or sign * o["price"] <= sign * new["price"]]
        if lifetime == "fok" and sum(order["wh"] for order in others) < new["wh"]:
            others = []
        while new["wh"] and others:
            best = min(others, key=lambda order: sign * order["price"])  # the first of equals is the oldest
            wh = min(best["wh"], new["wh"])
            self.trades.append([best["key"], new["key"], best["price"], wh])
            best["wh"] -= wh
            new["wh"] -= wh
            if not best["wh"]:
                others.remove(best)
                self.rest.remove(best)
        if new["wh"] and lifetime == "gtc" and new["price"] is not None:
            self.rest.append(new)
        elif new["wh"]:
            self.cancelled.append([new["key"], new["wh"]])

    def result(self) -> dict[str, Any]:
        sides: dict[str, dict[int, int]] = {"buy": {}, "sell": {}}
        for order in self.rest:
            level = sides[order["side"]]
            level[order["price"]] = level.get(order["price"], 0) + order["wh"]
        return {
            "trades": self.trades,
            "cancelled": self.cancelled,
            "rejected_ids": self.rejected,
            "bids": [[price, sides["buy"][price]] for price in sorted(sides["buy"], reverse=True)],
            "asks": [[price, sides["sell"][price]] for price in sorted(sides["sell"])],
        }


type Plain = tuple[str, int, int | None]
"""An order of the slow auction: side, energy, limit."""


def demand_and_supply(orders: list[Plain], price: int) -> tuple[int, int]:
    demand = sum(wh for side, wh, limit in orders if side == "buy" and (limit is None or limit >= price))
    supply = sum(wh for side, wh, limit in orders if side == "sell" and (limit is None or limit <= price))
    return demand, supply


def largest_volume(orders: list[Plain]) -> int:
    """Try every limit (and any price at all, when there are only market orders)."""
    limits = {limit for _, _, limit in orders if limit is not None} or {0}
    return max(min(demand_and_supply(orders, price)) for price in limits)


def supporting_range(orders: list[Plain], volume: int) -> tuple[int, int] | None:
    """Try every integer price: whoever is better than it is accepted, whoever is worse is not."""
    limits = [limit for _, _, limit in orders if limit is not None]
    if not limits:
        return None
    low, high = min(limits) - 1, max(limits) + 1
    supports = [price for price in range(low, high + 1) if _supports(orders, volume, price)]
    bounds = [price for price in (supports[0], supports[-1]) if low < price < high]
    return bounds[0], bounds[-1]


def _supports(orders: list[Plain], volume: int, price: int) -> bool:
    for name, sign in (("buy", 1), ("sell", -1)):
        side = [(wh, limit) for kind, wh, limit in orders if kind == name]
        accepted = max(0, volume - sum(wh for wh, limit in side if limit is None))
        better = sum(wh for wh, limit in side if limit is not None and sign * limit > sign * price)
        as_good = sum(wh for wh, limit in side if limit is not None and sign * limit >= sign * price)
        if not better <= accepted <= as_good:
            return False
    return True


def exchange_price(orders: list[Plain], reference: int) -> int:
    """The reference rule, criterion by criterion, over all limits."""
    limits = sorted({limit for _, _, limit in orders if limit is not None})
    if not limits:
        return reference
    curve = {price: demand_and_supply(orders, price) for price in limits}
    volume = max(min(both) for both in curve.values())
    limits = [price for price in limits if min(curve[price]) == volume]
    surplus = {price: curve[price][0] - curve[price][1] for price in limits}
    least = min(abs(wh) for wh in surplus.values())
    limits = [price for price in limits if abs(surplus[price]) == least]
    bid_heavy = [price for price in limits if surplus[price] > 0][-1:]
    ask_heavy = [price for price in limits if surplus[price] < 0][:1]
    limits = bid_heavy + ask_heavy or limits
    return min(limits, key=lambda price: (abs(price - reference), -price))
