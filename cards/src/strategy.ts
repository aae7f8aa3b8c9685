// A whole dashboard: one view for each home, and Home Assistant's own energy cards where they are set up.
import type { EntityEntry, Hass } from "./types.ts";
import { say } from "./words.ts";

interface Home {
  entry_id: string;
  title: string;
}

type Card = Record<string, unknown>;

const CONTROLS = ["switch", "select", "number", "button"];
const FIRST = ["trading", "shadow", "policy"];

/** Return the home's own controls: what is used most first, then by kind. */
export function controlsOf(hass: Pick<Hass, "entities" | "devices">, entryId: string): string[] {
  const own = (entity: EntityEntry | undefined): entity is EntityEntry =>
    entity?.platform === "energy_trade" &&
    !entity.hidden &&
    entity.entity_category === undefined &&
    (hass.devices[entity.device_id ?? ""]?.config_entries.includes(entryId) ?? false);
  const found = Object.values(hass.entities).filter(own);
  const place = (entity: EntityEntry): number => CONTROLS.indexOf(entity.entity_id.split(".")[0] ?? "");
  const late = (entity: EntityEntry): number => {
    const found = FIRST.indexOf(entity.translation_key ?? "");
    return found < 0 ? FIRST.length : found;
  };
  return found
    .filter((entity) => place(entity) >= 0)
    .sort((one, other) => late(one) - late(other) || place(one) - place(other) || one.entity_id.localeCompare(other.entity_id))
    .map((entity) => entity.entity_id);
}

/** Return the view of one home. */
export function viewOf(hass: Hass, home: Home, number: number): Card {
  const card = (kind: string): Card => ({ type: `custom:energy-trade-${kind}-card`, entry_id: home.entry_id });
  const controls = controlsOf(hass, home.entry_id);
  const tiles = controls.map(tileOf);
  const heading = { type: "heading", heading: say(hass.language, "controls") };
  return {
    type: "sections",
    title: home.title,
    path: `home-${number}`,
    max_columns: 3,
    sections: [
      { type: "grid", cards: [card("trading")] },
      { type: "grid", cards: [card("plan")] },
      { type: "grid", cards: [card("flow")] },
      ...(tiles.length > 0 ? [{ type: "grid", cards: [heading, ...tiles] }] : []),
    ],
  };
}

/** Return the tile of a control; a button's state is when it was pressed last, which says nothing here. */
function tileOf(entity: string): Card {
  return { type: "tile", entity, name: { type: "entity" }, ...(entity.startsWith("button.") ? { hide_state: true } : {}) };
}

async function hasEnergy(hass: Hass): Promise<boolean> {
  try {
    const found = await hass.callWS<{ energy_sources: unknown[] }>({ type: "energy/get_prefs" });
    return found.energy_sources.length > 0;
  } catch {
    return false;
  }
}

function energyView(hass: Hass): Card {
  const cards = ["energy-date-selection", "energy-usage-graph", "energy-sources-table"].map((type) => ({ type }));
  return {
    type: "sections",
    title: say(hass.language, "setup_energy"),
    path: "energy",
    max_columns: 1,
    sections: [{ type: "grid", column_span: 1, cards: cards.map((card) => ({ ...card, grid_options: { columns: "full" } })) }],
  };
}

/** Return the dashboard of all homes here; without one, a card that says how to begin. */
export async function dashboardOf(hass: Hass): Promise<Card> {
  const homes = await hass.callWS<Home[]>({ type: "energy_trade/entries" }).catch(() => []);
  const views = homes.map((home, number) => viewOf(hass, home, number + 1));
  const empty = { title: say(hass.language, "trading"), cards: [{ type: "custom:energy-trade-trading-card" }] };
  return { views: [...(views.length > 0 ? views : [empty]), ...((await hasEnergy(hass)) ? [energyView(hass)] : [])] };
}
