import assert from "node:assert/strict";
import { test } from "node:test";
import type { Interval, Plan, Snapshot } from "../src/types.ts";
import { actionOf, energyOf, flows, isProvisional, nextGate, slots, startOf, trouble } from "../src/view.ts";
import { NOON, interval, plan, snapshot } from "./home.ts";

test("what is wrong is said, the worst first", () => {
  const running = snapshot();
  assert.equal(trouble(running, NOON, true), "none");
  assert.equal(trouble(running, NOON, false), "disconnected");
  assert.equal(trouble(null, NOON, true), "unavailable");
  for (const status of ["missing", "not_loaded", "waiting"] as const) {
    assert.equal(trouble({ ...running, status }, NOON, true), status);
  }
  assert.equal(trouble({ ...running, connection: "offline" }, NOON, true), "offline");
  assert.equal(trouble({ ...running, connection: "polling" }, NOON, true), "none");
});

test("a snapshot is stale after two intervals without news", () => {
  assert.equal(trouble(snapshot(), NOON + 1800, true), "none");
  assert.equal(trouble(snapshot(), NOON + 1801, true), "stale");
});

test("the next gate is that of the first interval that still takes orders", () => {
  assert.deepEqual(nextGate(snapshot(), NOON), { start: NOON + 900, closes: NOON + 840 });
  assert.deepEqual(nextGate(snapshot(), NOON + 839.9), { start: NOON + 900, closes: NOON + 840 });
  assert.deepEqual(nextGate(snapshot(), NOON + 840), { start: NOON + 1800, closes: NOON + 1740 });
  assert.equal(startOf(snapshot(), NOON + 899), NOON);
});

test("slots are the coming day, open from the next gate on", () => {
  const found = slots(snapshot({ intervals: [interval(NOON + 900)] }), NOON + 850);
  assert.equal(found.length, 96);
  assert.deepEqual(
    found.slice(0, 3).map(({ start, open, row }) => [start - NOON, open, row !== undefined]),
    [
      [900, false, true],
      [1800, true, false],
      [2700, true, false],
    ],
  );
});

test("short intervals make no more slots than a card can show, long ones end with the day", () => {
  const market = snapshot().market as NonNullable<Snapshot["market"]>;
  assert.equal(slots(snapshot({ market: { ...market, interval_s: 60 } }), NOON).length, 96);
  assert.equal(slots(snapshot({ market: { ...market, interval_s: 3600 } }), NOON).length, 24);
});

test("a slot does what is held, planned or traded, in that order", () => {
  const slot = (row: Interval | undefined) => ({ start: 0, end: 900, open: true, row });
  const sells: Plan = plan({ side: "sell", energy_wh: 150 });
  assert.equal(actionOf(slot(undefined)), "open");
  assert.equal(actionOf(slot(interval(0))), "open");
  assert.equal(actionOf(slot(interval(0, { plan: sells, held: true }))), "held");
  assert.equal(actionOf(slot(interval(0, { plan: sells }))), "sell");
  assert.equal(actionOf(slot(interval(0, { plan: plan({ side: null, energy_wh: null }) }))), "none");
  const traded = slot(interval(0, { plan: plan({ side: null, energy_wh: null }), position_wh: 40 }));
  assert.deepEqual([actionOf(traded), energyOf(traded)], ["buy", 40], "what is traded stays, without another order");
  assert.equal(actionOf(slot(interval(0, { position_wh: -40 }))), "sell");
  assert.equal(actionOf(slot(interval(0, { position_wh: 40 }))), "buy");
  assert.equal(energyOf(slot(interval(0, { plan: sells, position_wh: 40 }))), 150);
  assert.equal(energyOf(slot(interval(0, { position_wh: -40 }))), 40);
  assert.equal(energyOf(slot(undefined)), 0);
});

test("what would be done later is expected only, and less than what is traded or held", () => {
  const slot = (changes: Partial<Interval>) => ({ start: 0, end: 900, open: true, row: interval(0, changes) });
  const later = plan({ side: "sell", energy_wh: 150, provisional: true });
  const seen = (changes: Partial<Interval>) => {
    const found = slot(changes);
    return [actionOf(found), energyOf(found), isProvisional(found)];
  };
  assert.deepEqual(seen({ plan: later }), ["sell", 150, true]);
  assert.deepEqual(seen({ plan: { ...later, provisional: false } }), ["sell", 150, false]);
  assert.deepEqual(seen({ plan: later, position_wh: -40 }), ["sell", 40, false]);
  assert.deepEqual(seen({ plan: { ...later, side: null, energy_wh: null } }), ["none", 0, true]);
  assert.deepEqual(seen({ plan: later, held: true }).filter((_, place) => place !== 1), ["held", false]);
  assert.deepEqual(seen({}), ["open", 0, false]);
});

test("what the meter saw is split into neighbours and supplier without loss", () => {
  const seen = (net: number, position: number) => flows(net, position).map(({ key, wh }) => `${key} ${wh}`);
  assert.deepEqual(seen(320, 200), ["from_neighbours 200", "from_supplier 120"]);
  assert.deepEqual(seen(-300, -250), ["to_neighbours 250", "to_supplier 50"]);
  assert.deepEqual(seen(100, 150), ["from_neighbours 150", "to_supplier 50"]);
  assert.deepEqual(seen(-100, -150), ["from_supplier 50", "to_neighbours 150"]);
  assert.deepEqual(seen(0, 0), []);
  for (let net = -500; net <= 500; net += 50) {
    for (let position = -500; position <= 500; position += 50) {
      const sum = flows(net, position).reduce((total, { key, wh }) => total + (key.startsWith("from") ? wh : -wh), 0);
      assert.equal(sum, net);
    }
  }
});
