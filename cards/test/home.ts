// A home as the tests see it: noon, quarter hours, a minute of gate.
import type { Hass, Interval, Plan, Snapshot } from "../src/types.ts";

export const NOON = 1_800_000_000;

export function interval(start: number, changes: Partial<Interval> = {}): Interval {
  return {
    start,
    price_micro_per_kwh: null,
    supplier_micro_per_kwh: null,
    source_price_micro_per_kwh: null,
    traded_wh: null,
    homes: null,
    position_wh: 0,
    held: false,
    forecast: null,
    plan: null,
    ...changes,
  };
}

export function plan(changes: Partial<Plan> = {}): Plan {
  return {
    side: "sell",
    energy_wh: 150,
    limit_micro_per_kwh: 180_000,
    shadow: false,
    provisional: false,
    rule: "sell_surplus",
    text: "sell 150 Wh for at least 0.180 EUR/kWh",
    alternative: "the supplier would pay 0.080 EUR/kWh",
    ...changes,
  };
}

export function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    status: "running",
    entry_id: "entry",
    title: "Elm Street",
    problem: null,
    at: NOON,
    connection: "live",
    currency: "EUR",
    market: {
      name: "Elm Street",
      state: "open",
      interval_s: 900,
      gate_s: 60,
      supplier_micro_per_kwh: 320_000,
      feed_in_micro_per_kwh: 80_000,
    },
    policy: "surplus",
    switches: { trading: true, shadow: false, away: false, opted_out: false },
    grid: { state: "normal", since: 0, frequency_mhz: null, events: [] },
    account: {
      money_micro: 5_000_000,
      bought_wh: 1_200,
      sold_wh: 3_400,
      cost_micro: 290_000,
      revenue_micro: 710_000,
      saved_micro: 430_000,
      open_orders: 1,
    },
    meter: null,
    intervals: [],
    entities: {},
    ...changes,
  };
}

/** As much of Home Assistant as pure functions ask for. */
export function hass(changes: Partial<Hass> = {}): Hass {
  return {
    states: {},
    entities: {},
    devices: {},
    config: { time_zone: "Europe/Berlin" },
    connected: true,
    language: "en",
    locale: { language: "en-GB", number_format: "language", time_format: "24", time_zone: "server" },
    connection: { subscribeMessage: () => Promise.reject(new Error("not connected")) },
    callWS: () => Promise.reject(new Error("not connected")),
    callService: () => Promise.reject(new Error("not connected")),
    localize: () => "",
    loadBackendTranslation: () => Promise.resolve(),
    formatEntityState: ({ state }) => state,
    ...changes,
  };
}
