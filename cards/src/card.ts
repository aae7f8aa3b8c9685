// What every card does: follow its home, say what is wrong, and stay calm while other entities change.
import { LitElement, html, nothing, type PropertyDeclarations, type PropertyValues, type TemplateResult } from "lit";
import { Format } from "./format.ts";
import { feedOf, type Seen } from "./store.ts";
import { styles } from "./styles.ts";
import type { CardConfig, Grid, Hass, Plan, Snapshot } from "./types.ts";
import { trouble, type Trouble } from "./view.ts";
import { say, type Word } from "./words.ts";

const TICK_MS = 1_000;
const CALM_TICK_MS = 15_000;
const LANGUAGE_PREFIX = "component.energy_trade.entity";

export abstract class TradeCard extends LitElement {
  static override styles = [styles];
  static override properties: PropertyDeclarations = {
    hass: { attribute: false },
    config: { state: true },
    seen: { state: true },
    failed: { state: true },
    now: { state: true },
    words: { state: true },
  };

  declare hass: Hass | undefined;
  declare protected config: CardConfig;
  declare protected seen: Seen | null;
  declare protected failed: boolean;
  declare protected now: number;
  declare private words: boolean;
  /** How often the card looks at the clock; a countdown needs it each second. */
  protected readonly tickMs: number = CALM_TICK_MS;
  private stop: (() => void) | undefined;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.config = { type: "" };
    this.seen = null;
    this.failed = false;
    this.words = false;
    this.now = Date.now() / 1000;
  }

  /** The heading when neither the owner nor the home gives one. */
  protected abstract readonly kind: Word;
  protected abstract body(snapshot: Snapshot): TemplateResult;

  setConfig(config: CardConfig): void {
    if (config.entry_id !== undefined && typeof config.entry_id !== "string") {
      throw new Error("entry_id must be the id of an Energy Trade entry");
    }
    const moved = config.entry_id !== this.config.entry_id;
    this.config = config;
    if (moved && this.stop) {
      this.leave();
      this.seen = null;
    }
  }

  getCardSize(): number {
    return 6;
  }

  getGridOptions(): object {
    return { columns: 12, min_columns: 6, rows: "auto" };
  }

  static getStubConfig(): object {
    return {};
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const tick = (): void => void (document.hidden || (this.now = Date.now() / 1000));
    this.timer = setInterval(tick, calm ? CALM_TICK_MS : this.tickMs);
    tick();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.timer);
    this.leave();
  }

  protected override willUpdate(): void {
    if (!this.hass || this.stop || !this.isConnected) return;
    this.stop = feedOf(this.hass, this.config.entry_id).listen((seen) => {
      this.failed = seen === null;
      this.seen = seen ?? this.seen;
      this.now = Date.now() / 1000;
    });
    void this.hass.loadBackendTranslation("entity", "energy_trade").then(() => (this.words = true));
  }

  protected override shouldUpdate(changed: PropertyValues): boolean {
    if (changed.size > 1 || !changed.has("hass")) return true;
    const before = changed.get("hass") as Hass | undefined;
    const hass = this.hass;
    if (!before || !hass || before.locale !== hass.locale || before.connected !== hass.connected) return true;
    const entities = Object.values(this.seen?.snapshot.entities ?? {});
    return entities.some((entity) => before.states[entity] !== hass.states[entity]);
  }

  protected override render(): TemplateResult {
    const snapshot = this.seen?.snapshot ?? null;
    if (!this.hass) return html`<ha-card></ha-card>`;
    const state = this.trouble(snapshot);
    return html`<ha-card>
      <div class="head">
        <h2>${this.config.title ?? this.say(this.kind)}</h2>
        ${snapshot?.market && snapshot.status === "running" ? this.age(snapshot, state) : nothing}
      </div>
      ${this.notices(snapshot, state)} ${snapshot?.market ? this.body(snapshot) : nothing}
    </ha-card>`;
  }

  protected say(word: Word, filled: Record<string, string> = {}): string {
    return say(this.hass?.language ?? "en", word, filled);
  }

  protected format(snapshot: Snapshot): Format {
    return new Format(this.hass as Hass, snapshot.currency ?? "EUR");
  }

  /** The market's time that the card shows: now, or when the news ended. */
  protected marketTime(): number {
    const state = this.trouble(this.seen?.snapshot ?? null);
    return state === "stale" || state === "disconnected" ? (this.seen?.snapshot.at ?? 0) : this.clock();
  }

  /** A rule or policy in the user's language, else the word itself. */
  protected named(kind: "sensor.last_decision" | "select.policy", word: string): string {
    return this.hass?.localize(`${LANGUAGE_PREFIX}.${kind}.state.${word}`) || word.replaceAll("_", " ");
  }

  /** Why a plan is no order: it is thought through in shadow mode only, or it is for later. */
  protected remarks(plan: Plan | null): string {
    const said = [plan?.shadow && this.say("plan_shadow"), plan?.provisional && this.say("expected")].filter(Boolean);
    return said.length ? ` (${said.join(", ")})` : "";
  }

  protected showMore(entity: string): void {
    const detail = { entityId: entity };
    this.dispatchEvent(new CustomEvent("hass-more-info", { detail, bubbles: true, composed: true }));
  }

  private trouble(snapshot: Snapshot | null): Trouble | "connecting" {
    if (snapshot === null && !this.failed && this.hass?.connected) return "connecting";
    return trouble(snapshot, this.clock(), this.hass?.connected ?? false);
  }

  private clock(): number {
    return this.now + (this.seen?.offset_s ?? 0);
  }

  private leave(): void {
    this.stop?.();
    this.stop = undefined;
  }

  private age(snapshot: Snapshot, state: string): TemplateResult {
    const how = state === "none" ? (snapshot.connection === "live" ? "live" : "polling") : "old";
    return html`<p class="quiet age" data-state=${how}>${this.say(how)} · ${snapshot.title}</p>`;
  }

  private notices(snapshot: Snapshot | null, state: Trouble | "connecting"): TemplateResult {
    const grid = snapshot?.grid ? this.gridNotices(snapshot, snapshot.grid) : nothing;
    const halted = snapshot?.market && snapshot.market.state !== "open";
    const text = state === "none" ? "" : this.troubleText(snapshot, state);
    return html`${grid} ${halted ? html`<p class="notice">${this.say("market_halted")}</p>` : nothing}
    ${text ? html`<p class="notice" role="status">${text}</p>` : nothing}
    ${state === "missing"
      ? html`<p><a href="/config/integrations/dashboard/add?domain=energy_trade">${this.say("add")}</a></p>`
      : nothing}`;
  }

  private troubleText(snapshot: Snapshot | null, state: Exclude<Trouble, "none"> | "connecting"): string {
    const problem = snapshot?.problem ?? "";
    const time = snapshot?.at ? this.format(snapshot).time(snapshot.at) : "";
    const word = state === "not_loaded" && problem ? "not_loaded_because" : state;
    return this.say(word, { title: snapshot?.title ?? "", problem, time });
  }

  private gridNotices(snapshot: Snapshot, grid: Grid): TemplateResult {
    const format = this.format(snapshot);
    const state = grid.state;
    const coming = grid.events.filter((event) => event.source !== "grid_state" && event.end > this.marketTime());
    return html`${state === "normal"
      ? nothing
      : html`<p class="notice ${state === "strained" ? "" : "alarm"}" role="alert">
          ${this.say(state, { time: format.time(grid.since) })}
        </p>`}
    ${coming.slice(0, 2).map(
      (event) =>
        html`<p class="notice" role="status">
          ${this.say(event.kind === "reduce" ? "event_reduce" : "event_increase", { time: format.time(event.end) })}
          ${event.text}
        </p>`,
    )}`;
  }
}

export { TICK_MS };
