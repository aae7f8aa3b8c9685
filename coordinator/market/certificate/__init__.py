"""What proves an auction's result, and its check.

``certificate`` states question and answer, ``verify`` works the answer out again: own arithmetic in integers, no
solver. Energy in Wh, prices in 1e-6 currency per kWh; ``worth`` is in their product, a thousandth of 1e-6 currency.

* Whatever the rule: fills within their orders and equal to their trades, each trade within both limits (a market order
  within the band), no buyer who pays less than the seller gets, energy balanced at each node.
* A node that nothing couples (no bundles, no lines, or a fallback): volume, price, its range and all fills are worked
  out again from the orders by the rule as published, for ``pay_as_bid`` also who trades with whom.
* Bundles or lines: at the accepted bundles and flows each node trades the largest volume that it can, better limits
  first and equal ones by the rule for ties; the ranges are worked out again and each price lies within its own; given
  the accepted bundles no other fills and flows are worth more (worth of the primal equals that of the dual).

What it cannot tell: whether these were all orders, and in this order (the log says so: ``energy-trade verify``); that
no other choice of bundles is worth more (the solver's word, ``bound_micro``), and which price of its range is right
where a bundle is accepted; whether a fallback's cause is true; that a rule other than ``uniform`` is the best for the
book (it states no bound, and is checked to follow itself only); who had to meet whom under rules with one price.
Trades that preferences add after an auction are not of it, and not in its certificate.
"""

from __future__ import annotations

from .checking import VERSION, verify
from .making import certificate

__all__ = ["VERSION", "certificate", "verify"]
