"""What a meter sees behind a battery that stores the home's own surplus and gives it back when the home needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .forecast import Forecast
from .outlook import BatteryState
from .terms import SECONDS_PER_HOUR


def behind(forecasts: Mapping[int, Forecast], battery: BatteryState, interval_s: int, at: int) -> dict[int, Forecast]:
    """Return the forecasts of the meter from those of the home without its battery, from ``at`` on.

    The battery is followed from interval to interval, three times: for the middle, and for the low and the high ends,
    as if every interval came to its end of the range; so neither surplus nor need is counted on that the battery might
    take. Where an interval's forecast is missing, what is in the battery after it is unknown, and so is the rest.
    """
    ends = [_Battery(battery) for _ in range(3)]
    found: dict[int, Forecast] = {}
    before: int | None = None
    for start, forecast in sorted(forecasts.items()):
        if start + interval_s <= at:
            continue
        if before is not None and start != before + interval_s:
            break
        seconds = min(interval_s, start + interval_s - at)
        nets = (forecast.low_wh, forecast.net_wh, forecast.high_wh)
        low, net, high = (
            end.meter_wh(forecast.net_wh if wh is None else wh, interval_s, seconds)
            for end, wh in zip(ends, nets, strict=True)
        )
        stored_wh = net - forecast.net_wh
        text = forecast.text
        if stored_wh:
            text += f", the battery {'takes' if stored_wh > 0 else 'gives'} {abs(stored_wh)} Wh"
        found[start] = replace(forecast, net_wh=net, low_wh=low, high_wh=high, text=text)
        before = start
    return found


class _Battery:
    """A battery's way through the intervals; energies in Wh."""

    def __init__(self, state: BatteryState) -> None:
        self._state = state
        self._stored = float(state.energy_wh)

    def meter_wh(self, net_wh: int, interval_s: int, seconds: int) -> int:
        """Return what the meter sees of an interval of which ``seconds`` are left, and take or give the rest.

        What the battery does in the part that is past is in the battery's state already.
        """
        state, efficiency = self._state, self._state.efficiency_percent / 100
        part = net_wh * seconds / interval_s
        if part < 0:
            room = max(0.0, state.capacity_wh - self._stored) / efficiency
            taken = min(-part, room, state.charge_max_w * seconds / SECONDS_PER_HOUR)
            self._stored += taken * efficiency
            return round(net_wh + taken)
        kept = max(0.0, self._stored - state.reserve_wh) * efficiency
        given = min(part, kept, state.discharge_max_w * seconds / SECONDS_PER_HOUR)
        self._stored -= given / efficiency
        return round(net_wh - given)
