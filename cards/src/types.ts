// What the cards use of Home Assistant, and the snapshot that custom_components/energy_trade/snapshot.py describes.

export interface HassEntity {
  entity_id: string;
  state: string;
  attributes: Record<string, unknown>;
}

export interface EntityEntry {
  entity_id: string;
  device_id?: string;
  platform: string;
  translation_key?: string;
  entity_category?: string;
  hidden?: boolean;
}

export interface Hass {
  states: Record<string, HassEntity | undefined>;
  entities: Record<string, EntityEntry | undefined>;
  devices: Record<string, { config_entries: string[] } | undefined>;
  config: { time_zone: string };
  connected: boolean;
  language: string;
  locale: { language: string; number_format: string; time_format: string; time_zone: string };
  connection: {
    subscribeMessage<T>(listener: (message: T) => void, message: object): Promise<() => Promise<void>>;
  };
  callWS<T>(message: object): Promise<T>;
  callService(domain: string, service: string, data: object): Promise<unknown>;
  localize(key: string): string;
  loadBackendTranslation(category: string, integration: string): Promise<unknown>;
  formatEntityState(entity: HassEntity): string;
}

export interface CardConfig {
  type: string;
  entry_id?: string;
  title?: string;
}

export interface Market {
  name: string;
  state: string;
  interval_s: number;
  gate_s: number;
  supplier_micro_per_kwh: number;
  feed_in_micro_per_kwh: number;
}

export interface Forecast {
  net_wh: number;
  low_wh: number | null;
  high_wh: number | null;
}

export interface Plan {
  side: "buy" | "sell" | null;
  energy_wh: number | null;
  limit_micro_per_kwh: number | null;
  shadow: boolean;
  provisional: boolean;
  rule: string;
  text: string;
  alternative: string;
}

export interface Interval {
  start: number;
  price_micro_per_kwh: number | null;
  supplier_micro_per_kwh: number | null;
  source_price_micro_per_kwh: number | null;
  traded_wh: number | null;
  homes: number | null;
  position_wh: number | null;
  held: boolean;
  forecast: Forecast | null;
  plan: Plan | null;
}

export interface GridEvent {
  kind: string;
  start: number;
  end: number;
  source: string;
  text: string;
}

export interface Grid {
  state: "normal" | "strained" | "emergency" | "island";
  since: number;
  frequency_mhz: number | null;
  events: GridEvent[];
}

export interface Account {
  money_micro: number;
  bought_wh: number;
  sold_wh: number;
  cost_micro: number;
  revenue_micro: number;
  saved_micro: number;
  open_orders: number;
}

export interface Meter {
  start: number;
  end: number;
  consumption_wh: number;
  production_wh: number;
  position_wh: number | null;
}

export interface Snapshot {
  status: "missing" | "not_loaded" | "waiting" | "running";
  entry_id: string | null;
  title: string | null;
  problem: string | null;
  at: number;
  connection: "live" | "polling" | "offline";
  currency: string | null;
  market: Market | null;
  policy: string | null;
  switches: { trading: boolean; shadow: boolean; away: boolean; opted_out: boolean } | null;
  grid: Grid | null;
  account: Account | null;
  meter: Meter | null;
  intervals: Interval[];
  entities: Record<string, string>;
}
