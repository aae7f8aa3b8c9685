import assert from "node:assert/strict";
import { test } from "node:test";
import { controlsOf, dashboardOf, viewOf } from "../src/strategy.ts";
import { suggestion } from "../src/suggest.ts";
import type { EntityEntry, Hass } from "../src/types.ts";
import { hass } from "./home.ts";

const entity = (entity_id: string, changes: Partial<EntityEntry> = {}): [string, EntityEntry] => [
  entity_id,
  { entity_id, device_id: "device", platform: "energy_trade", ...changes },
];

const home = (): Hass =>
  hass({
    devices: { device: { config_entries: ["entry"] }, other: { config_entries: ["elsewhere"] } },
    entities: Object.fromEntries([
      entity("sensor.price", { translation_key: "market_price" }),
      entity("select.policy"),
      entity("switch.trading"),
      entity("number.floor"),
      entity("number.hidden", { hidden: true }),
      entity("button.expert", { entity_category: "config" }),
      entity("switch.neighbour", { device_id: "other" }),
      entity("switch.lamp", { platform: "mqtt" }),
    ]),
  });

test("a home's controls are its own, by kind", () => {
  assert.deepEqual(controlsOf(home(), "entry"), ["switch.trading", "select.policy", "number.floor"]);
});

test("what is used most stands first, and a button shows no state", () => {
  const kinds = { away: "switch.away", trading: "switch.trade", policy: "select.policy", shadow: "switch.ghost" };
  const named = Object.entries({ ...kinds, cancel_all: "button.cancel" });
  const entities = Object.fromEntries(named.map(([translation_key, id]) => entity(id, { translation_key })));
  const found = { ...home(), entities };
  const order = ["switch.trade", "switch.ghost", "select.policy", "switch.away", "button.cancel"];
  assert.deepEqual(controlsOf(found, "entry"), order);
  const view = viewOf(found, { entry_id: "entry", title: "Elm Street" }, 1);
  const [, ...tiles] = (view["sections"] as { cards: { hide_state?: boolean }[] }[])[3]?.cards ?? [];
  assert.deepEqual(tiles.map(({ hide_state }) => hide_state ?? false), [false, false, false, false, true]);
});

test("a view shows the three cards of its home, and its controls", () => {
  const view = viewOf(home(), { entry_id: "entry", title: "Elm Street" }, 1);
  const sections = view["sections"] as { cards: { type: string; entry_id?: string }[] }[];
  assert.deepEqual(
    sections.flatMap(({ cards }) => cards.map(({ type }) => type)),
    [
      "custom:energy-trade-trading-card",
      "custom:energy-trade-plan-card",
      "custom:energy-trade-flow-card",
      "heading",
      "tile",
      "tile",
      "tile",
    ],
  );
  assert.equal(sections[0]?.cards[0]?.entry_id, "entry");
  assert.equal((viewOf(hass(), { entry_id: "entry", title: "" }, 1)["sections"] as unknown[]).length, 3);
});

test("the dashboard has a view per home and Home Assistant's energy where it is set up", async () => {
  const answers: Record<string, unknown> = {
    "energy_trade/entries": [{ entry_id: "entry", title: "Elm Street" }],
    "energy/get_prefs": { energy_sources: [{}] },
  };
  const callWS = <T>({ type }: { type?: string }): Promise<T> => Promise.resolve(answers[type ?? ""] as T);
  const found = await dashboardOf({ ...home(), callWS });
  assert.deepEqual((found["views"] as { path: string }[]).map(({ path }) => path), ["home-1", "energy"]);
  answers["energy/get_prefs"] = { energy_sources: [] };
  assert.equal(((await dashboardOf({ ...home(), callWS }))["views"] as unknown[]).length, 1);
});

test("without a home the dashboard says how to begin", async () => {
  const found = await dashboardOf(hass());
  assert.deepEqual(found["views"], [{ title: "Trading", cards: [{ type: "custom:energy-trade-trading-card" }] }]);
});

test("cards are suggested for our entities only, with their home", () => {
  const suggest = suggestion("energy-trade-trading-card", (key) => key === "market_price");
  assert.deepEqual(suggest(home(), "sensor.price"), {
    config: { type: "custom:energy-trade-trading-card", entry_id: "entry" },
  });
  assert.equal(suggest(home(), "switch.trading"), null);
  assert.equal(suggest(home(), "switch.lamp"), null);
  assert.equal(suggest(home(), "light.unknown"), null);
});
