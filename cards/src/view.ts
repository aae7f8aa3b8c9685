// What a snapshot means now: pure, so that tests can ask without a browser.
import type { Interval, Plan, Snapshot } from "./types.ts";

export type Trouble = "none" | "disconnected" | "unavailable" | "missing" | "not_loaded" | "waiting" | "offline" | "stale";

const STALE_INTERVALS = 2;

/** Say what keeps the snapshot from being the present; the worst first. */
export function trouble(snapshot: Snapshot | null, now: number, connected: boolean): Trouble {
  if (!connected) return "disconnected";
  if (snapshot === null) return "unavailable";
  if (snapshot.status !== "running") return snapshot.status;
  if (snapshot.connection === "offline") return "offline";
  const interval_s = snapshot.market?.interval_s ?? 900;
  return now - snapshot.at > STALE_INTERVALS * interval_s ? "stale" : "none";
}

/** Return the start of the interval that holds the moment. */
export function startOf(snapshot: Snapshot, now: number): number {
  const interval_s = snapshot.market?.interval_s ?? 900;
  return now - (now % interval_s);
}

export function rowAt(snapshot: Snapshot, start: number): Interval | undefined {
  return snapshot.intervals.find((row) => row.start === start);
}

/** The next interval whose gate is still open, and when it closes. */
export function nextGate(snapshot: Snapshot, now: number): { start: number; closes: number } {
  const { interval_s, gate_s } = snapshot.market ?? { interval_s: 900, gate_s: 0 };
  const start = startOf(snapshot, Math.floor(now) + gate_s) + interval_s;
  return { start, closes: start - gate_s };
}

export interface Slot {
  start: number;
  end: number;
  open: boolean;
  row: Interval | undefined;
}

/** Return the coming intervals, each whether known or not; at most a day, at most 96. */
export function slots(snapshot: Snapshot, now: number): Slot[] {
  const interval_s = snapshot.market?.interval_s ?? 900;
  const first = startOf(snapshot, Math.floor(now)) + interval_s;
  const gate = nextGate(snapshot, now).start;
  const rows = new Map(snapshot.intervals.map((row) => [row.start, row]));
  return Array.from({ length: Math.min(96, Math.floor(86_400 / interval_s)) }, (_, number) => {
    const start = first + number * interval_s;
    return { start, end: start + interval_s, open: start >= gate, row: rows.get(start) };
  });
}

export type Action = "sell" | "buy" | "held" | "none" | "open";

/** What is decided about a slot; what has been traded counts for more than what is only expected. */
export function planOf(slot: Slot): Plan | null {
  const plan = slot.row?.plan ?? null;
  return plan?.provisional && slot.row?.position_wh ? null : plan;
}

/** Whether a slot's action is only what the policy would do by the forecast: nothing is ordered yet. */
export function isProvisional(slot: Slot): boolean {
  return !slot.row?.held && (planOf(slot)?.provisional ?? false);
}

/** What the home does in a slot; `open` is not decided yet. */
export function actionOf(slot: Slot): Action {
  if (slot.row?.held) return "held";
  const plan = planOf(slot);
  if (plan?.side) return plan.side;
  const position = slot.row?.position_wh ?? 0;
  return position < 0 ? "sell" : position > 0 ? "buy" : plan ? "none" : "open";
}

/** The energy that a slot's action is about, in Wh: what is ordered or would be, else what has been traded. */
export function energyOf(slot: Slot): number {
  return planOf(slot)?.energy_wh ?? Math.abs(slot.row?.position_wh ?? 0);
}

export interface Flow {
  key: "from_neighbours" | "from_supplier" | "to_neighbours" | "to_supplier";
  wh: number;
}

/** Split what the meter saw into what was traded with neighbours and the rest, which is the supplier's. */
export function flows(net_wh: number, position_wh: number): Flow[] {
  const rest = net_wh - position_wh;
  const found: Flow[] = [];
  if (position_wh > 0) found.push({ key: "from_neighbours", wh: position_wh });
  if (rest > 0) found.push({ key: "from_supplier", wh: rest });
  if (position_wh < 0) found.push({ key: "to_neighbours", wh: -position_wh });
  if (rest < 0) found.push({ key: "to_supplier", wh: -rest });
  return found;
}
