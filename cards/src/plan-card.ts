// The coming intervals: what the home will do in each and why; each can be taken out of the plan.
import { css, html, nothing, svg, type TemplateResult } from "lit";
import { TradeCard } from "./card.ts";
import type { Format } from "./format.ts";
import { styles } from "./styles.ts";
import type { Snapshot } from "./types.ts";
import { actionOf, energyOf, isProvisional, planOf, slots, type Action, type Slot } from "./view.ts";
import type { Word } from "./words.ts";

const FEW = 16;
const GLYPHS: Record<Action, string> = { sell: "▲", buy: "▼", held: "‖", none: "–", open: "·" };
const WORDS: Record<Action, Word> = {
  sell: "cell_sell",
  buy: "cell_buy",
  held: "cell_held",
  none: "cell_none",
  open: "cell_open",
};

export class PlanCard extends TradeCard {
  static override properties = { all: { state: true }, chosen: { state: true }, problem: { state: true } };
  static override styles = [
    styles,
    css`
      .cells {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(76px, 1fr));
        gap: var(--gap-1);
        list-style: none;
      }
      .cells button {
        position: relative;
        display: grid;
        width: 100%;
        min-height: 48px;
        padding: var(--gap-1) var(--gap-2);
        border-inline-start: 4px solid var(--side, var(--trade-line));
        text-align: start;
        font-size: var(--ha-font-size-s, 12px);
      }
      .cells b {
        font-weight: var(--ha-font-weight-medium, 500);
      }
      [data-action="sell"] {
        --side: var(--trade-sell);
      }
      [data-action="buy"] {
        --side: var(--trade-buy);
      }
      [data-action="held"] {
        --side: var(--trade-warn);
      }
      .cells [data-provisional],
      .swatch {
        border: 1px dashed var(--side, var(--primary-text-color));
      }
      .cells [data-provisional] {
        padding-inline-start: calc(var(--gap-2) + 3px);
      }
      .cells [data-provisional] b {
        font-weight: var(--ha-font-weight-normal, 400);
      }
      .swatch {
        display: inline-block;
        width: 16px;
        height: 10px;
        border-radius: 3px;
      }
      figure {
        margin: 0;
      }
      .chart {
        height: 64px;
        margin-top: var(--gap-1);
      }
      .chart .sell {
        fill: var(--trade-sell);
      }
      .chart .buy {
        fill: var(--trade-buy);
      }
      .chart line {
        stroke: var(--primary-text-color);
        stroke-width: 1px;
        vector-effect: non-scaling-stroke;
      }
      dialog {
        max-width: min(440px, calc(100vw - 32px));
        box-sizing: border-box;
        padding: var(--gap-4);
        border: 1px solid var(--trade-line);
        border-radius: var(--round);
        background: var(--card-background-color, #fff);
        color: var(--primary-text-color);
      }
      dialog[open] {
        display: grid;
        gap: var(--gap-2);
      }
      .actions {
        display: flex;
        flex-wrap: wrap;
        gap: var(--gap-2);
      }
    `,
  ];

  declare private all: boolean;
  declare private chosen: number | null;
  declare private problem: string;
  private focused = 0;

  protected readonly kind: Word = "plan";

  constructor() {
    super();
    this.all = false;
    this.chosen = null;
    this.problem = "";
  }

  protected body(snapshot: Snapshot): TemplateResult {
    const every = slots(snapshot, this.marketTime());
    const shown = this.all ? every : every.slice(0, FEW);
    this.focused = Math.min(this.focused, shown.length - 1);
    return html`<p>${this.summary(snapshot, every)}</p>
      ${this.chart(snapshot, every)}
      ${shown.some(isProvisional)
        ? html`<p class="quiet"><span class="swatch" aria-hidden="true"></span> ${this.say("expected_legend")}</p>`
        : nothing}
      <ul class="cells" @keydown=${this.move}>
        ${shown.map((slot, number) => html`<li>${this.cell(snapshot, slot, number)}</li>`)}
      </ul>
      ${every.length > FEW
        ? html`<button type="button" aria-expanded=${this.all} @click=${() => (this.all = !this.all)}>
            ${this.say(this.all ? "less" : "more", { count: String(every.length) })}
          </button>`
        : nothing}
      ${this.table(snapshot, every)} ${this.dialog(snapshot, every)}`;
  }

  protected override updated(): void {
    const dialog = this.renderRoot.querySelector("dialog");
    if (dialog && this.chosen !== null && !dialog.open) dialog.showModal();
    if (dialog && this.chosen === null && dialog.open) dialog.close();
  }

  private summary(snapshot: Snapshot, every: Slot[]): string {
    const format = this.format(snapshot);
    const expected = every.filter(isProvisional);
    const planned = every.filter((slot) => !isProvisional(slot));
    const sum = (among: Slot[], action: Action): string =>
      format.energy(among.reduce((total, slot) => total + (actionOf(slot) === action ? energyOf(slot) : 0), 0));
    const sums = (among: Slot[]): Record<string, string> => ({ sold: sum(among, "sell"), bought: sum(among, "buy") });
    const held = every.filter((slot) => slot.row?.held).length;
    if (every.every((slot) => actionOf(slot) === "open")) return this.say("plan_empty");
    const filled = { count: String(every.length), held: String(held), ...sums(planned) };
    const more = expected.length ? ` ${this.say("plan_expected", sums(expected))}` : "";
    return this.say("plan_summary", filled) + more;
  }

  /** Bars of the forecast: surplus above the line, need below. The table says the same. */
  private chart(snapshot: Snapshot, every: Slot[]): TemplateResult | typeof nothing {
    const net = every.map((slot) => slot.row?.forecast?.net_wh ?? 0);
    const [most, least] = [Math.max(0, ...net), Math.min(0, ...net)];
    if (most === least) return nothing;
    const line = (100 * -least) / (most - least);
    const format = this.format(snapshot);
    return html`<figure>
      <figcaption class="quiet">${this.say("chart_label")}</figcaption>
      <svg class="chart" aria-hidden="true" viewBox="0 0 ${every.length} 100" preserveAspectRatio="none">
        ${net.map((wh, number) => {
          const height = (100 * Math.abs(wh)) / (most - least);
          const top = wh < 0 ? line - height : line;
          return svg`<rect class=${wh < 0 ? "sell" : "buy"} x=${number + 0.1} y=${top} width="0.8" height=${height} />`;
        })}
        ${svg`<line x1="0" y1=${line} x2=${every.length} y2=${line} />`}
      </svg>
      <p class="quiet ends" aria-hidden="true">
        <span>${format.time(every[0]?.start ?? 0)}</span><span>${format.time(every.at(-1)?.end ?? 0)}</span>
      </p>
    </figure>`;
  }

  private cell(snapshot: Snapshot, slot: Slot, number: number): TemplateResult {
    const format = this.format(snapshot);
    const action = actionOf(slot);
    const wh = energyOf(slot);
    const amount = wh > 0 && action !== "held" ? format.energy(wh) : this.say(WORDS[action]);
    const provisional = isProvisional(slot);
    const word = amount === this.say(WORDS[action]) ? "" : this.say(WORDS[action]);
    const more = [word, provisional ? this.say("expected") : "", this.expected(format, slot)];
    return html`<button
      type="button"
      data-action=${action}
      ?data-provisional=${provisional}
      tabindex=${number === this.focused ? 0 : -1}
      aria-haspopup="dialog"
      @click=${() => this.open(slot, number)}
    >
      <b>${format.time(slot.start)}</b>
      <span><span aria-hidden="true">${GLYPHS[action]}</span> ${amount}</span>
      <span class="hidden">${more.filter(Boolean).join(", ")}</span>
    </button>`;
  }

  private action(format: Format, slot: Slot): string {
    const action = actionOf(slot);
    const wh = energyOf(slot);
    const word = this.say(WORDS[action]);
    const remarks = this.remarks(action === "held" ? null : planOf(slot));
    return (wh > 0 && action !== "held" ? `${word} ${format.energy(wh)}` : word) + remarks;
  }

  private expected(format: Format, slot: Slot): string {
    const net = slot.row?.forecast?.net_wh;
    if (net === undefined) return "";
    const word = net < 0 ? "forecast_surplus" : net > 0 ? "forecast_need" : "forecast_balanced";
    return this.say(word, { energy: format.energy(Math.abs(net)) });
  }

  private table(snapshot: Snapshot, every: Slot[]): TemplateResult {
    const format = this.format(snapshot);
    const heads = (["time", "forecast", "order", "price"] as const).map((word) => this.say(word));
    return html`<details>
      <summary>${this.say("as_table")}</summary>
      <div class="scroll" tabindex="0" role="region" aria-label=${this.say("chart_label")}>
        <table>
          <thead>
            <tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr>
          </thead>
          <tbody>
            ${every.map(
              (slot) =>
                html`<tr>
                  <td>${format.span(slot.start, slot.end)}</td>
                  <td>${this.expected(format, slot) || this.say("forecast_none")}</td>
                  <td>${this.action(format, slot)}</td>
                  <td class="number">${this.limit(format, slot)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>`;
  }

  private limit(format: Format, slot: Slot): string {
    const price = planOf(slot)?.limit_micro_per_kwh ?? slot.row?.price_micro_per_kwh ?? null;
    return price === null ? "–" : format.price(price);
  }

  private dialog(snapshot: Snapshot, every: Slot[]): TemplateResult {
    const slot = every.find(({ start }) => start === this.chosen);
    const close = (): void => void (this.chosen = null);
    return html`<dialog aria-labelledby="asked" @close=${close} @cancel=${close}>
      ${slot ? this.asked(snapshot, slot) : nothing}
    </dialog>`;
  }

  private asked(snapshot: Snapshot, slot: Slot): TemplateResult {
    const format = this.format(snapshot);
    const span = format.span(slot.start, slot.end);
    const held = slot.row?.held ?? false;
    const plan = slot.row?.plan;
    const source = slot.row?.source_price_micro_per_kwh ?? null;
    return html`<h2 id="asked">${span}: ${this.action(format, slot)}</h2>
      <p>${this.expected(format, slot) || this.say("forecast_none")}</p>
      ${source === null ? nothing : html`<p>${this.say("source_price", { price: format.price(source) })}</p>`}
      ${plan
        ? html`<p>${this.say("why")}: ${this.named("sensor.last_decision", plan.rule)}</p>
            <p class="quiet" lang="en">${plan.text}</p>`
        : nothing}
      ${slot.open ? html`<p>${this.say(held ? "release_ask" : "hold_ask", { span })}</p>` : nothing}
      ${this.problem ? html`<p class="notice" role="alert">${this.say("failed", { problem: this.problem })}</p>` : nothing}
      <div class="actions">
        ${slot.open
          ? html`<button type="button" @click=${() => this.hold(snapshot, slot, !held)}>
              ${this.say(held ? "release" : "hold")}
            </button>`
          : nothing}
        <button type="button" @click=${() => (this.chosen = null)}>${this.say("close")}</button>
      </div>`;
  }

  private open(slot: Slot, number: number): void {
    this.focused = number;
    this.problem = "";
    this.chosen = slot.start;
  }

  private async hold(snapshot: Snapshot, slot: Slot, held: boolean): Promise<void> {
    const start = new Date(slot.start * 1000).toISOString();
    const data = { config_entry_id: snapshot.entry_id, delivery_start: start, hold: held };
    try {
      await this.hass?.callService("energy_trade", "set_interval", data);
      this.chosen = null;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String((error as { message?: string }).message ?? error);
    }
  }

  /** Arrow keys walk through the intervals, so that the card is one stop of the Tab key. */
  private move(event: KeyboardEvent): void {
    const cells = [...this.renderRoot.querySelectorAll<HTMLButtonElement>(".cells button")];
    const here = cells.indexOf(event.target as HTMLButtonElement);
    const first = cells[0]?.offsetTop;
    const columns = Math.max(1, cells.filter((cell) => cell.offsetTop === first).length);
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    const to = event.key === "Home" ? 0 : event.key === "End" ? cells.length - 1 : here + (steps[event.key] ?? 0);
    if (here < 0 || to === here || !cells[to]) return;
    event.preventDefault();
    this.focused = to;
    this.requestUpdate();
    cells[to].focus();
  }
}
