// Which of our cards suits an entity, for the card picker.
import type { Hass } from "./types.ts";

/** Suggest a card for this integration's own entities, none for any other. */
export function suggestion(type: string, fits: (key: string) => boolean) {
  return (hass: Hass, entityId: string): object | null => {
    const entity = hass.entities[entityId];
    if (entity?.platform !== "energy_trade" || !fits(entity.translation_key ?? "")) return null;
    const entry = hass.devices[entity.device_id ?? ""]?.config_entries[0];
    return { config: { type: `custom:${type}`, ...(entry ? { entry_id: entry } : {}) } };
  };
}
