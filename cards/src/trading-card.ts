// One home now: the price beside its tariff, what it trades, what comes next, and why.
import { css, html, nothing, type TemplateResult } from "lit";
import { TICK_MS, TradeCard } from "./card.ts";
import { countdown, type Format } from "./format.ts";
import { styles } from "./styles.ts";
import type { Interval, Plan, Snapshot } from "./types.ts";
import { nextGate, rowAt, startOf } from "./view.ts";
import type { Word } from "./words.ts";

export class TradingCard extends TradeCard {
  static override styles = [
    styles,
    css`
      .band {
        position: relative;
        height: 12px;
        margin-top: var(--gap-2);
        border-radius: 6px;
        background: linear-gradient(to right, var(--trade-sell), var(--trade-line), var(--trade-buy));
      }
      .band i {
        position: absolute;
        top: -4px;
        width: 4px;
        height: 20px;
        margin-inline-start: -2px;
        border-radius: 2px;
        background: var(--primary-text-color);
        box-shadow: 0 0 0 2px var(--card-background-color, #fff);
      }
      .two {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
        gap: var(--gap-4);
      }
      .two > section {
        padding-inline-start: var(--gap-2);
        border-inline-start: 4px solid var(--side, var(--trade-line));
      }
      [data-side="sell"] {
        --side: var(--trade-sell);
      }
      [data-side="buy"] {
        --side: var(--trade-buy);
      }
      .tags {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: var(--gap-2) var(--gap-4);
      }
      .switch {
        display: inline-flex;
        align-items: center;
        gap: var(--gap-2);
      }
      .switch i {
        width: 36px;
        height: 20px;
        border: 1px solid currentcolor;
        border-radius: 10px;
        background: var(--trade-soft);
      }
      .switch i::after {
        content: "";
        display: block;
        width: 14px;
        height: 14px;
        margin: 2px;
        border-radius: 50%;
        background: currentcolor;
      }
      .switch[aria-checked="true"] i {
        background: var(--primary-color, #009ac7);
      }
      .switch[aria-checked="true"] i::after {
        margin-inline-start: 18px;
      }
    `,
  ];

  protected readonly kind: Word = "trading";
  protected override readonly tickMs = TICK_MS;

  protected body(snapshot: Snapshot): TemplateResult {
    const now = this.marketTime();
    const row = rowAt(snapshot, startOf(snapshot, Math.floor(now)));
    const gate = nextGate(snapshot, now);
    const next = rowAt(snapshot, gate.start);
    return html`${this.price(snapshot, row)}
      <div class="two">${this.present(snapshot, row)} ${this.coming(snapshot, next, gate)}</div>
      ${next?.plan ? this.why(next.plan) : nothing} ${this.money(snapshot)} ${this.controls(snapshot)}`;
  }

  private price(snapshot: Snapshot, row: Interval | undefined): TemplateResult {
    const format = this.format(snapshot);
    const market = snapshot.market as NonNullable<Snapshot["market"]>;
    const supplier = row?.supplier_micro_per_kwh ?? market.supplier_micro_per_kwh;
    const price = row?.price_micro_per_kwh ?? null;
    const [low, high] = [Math.min(market.feed_in_micro_per_kwh, supplier), Math.max(market.feed_in_micro_per_kwh, supplier)];
    const place = price === null || high === low ? null : Math.min(100, Math.max(0, (100 * (price - low)) / (high - low)));
    return html`<section>
      <h3>${this.say("price_now")}</h3>
      <p class="answer">${price === null ? this.say("price_none") : this.compare(format, price, supplier)}</p>
      <div aria-hidden="true" class="band">${place === null ? nothing : html`<i style="left:${place}%"></i>`}</div>
      <p class="quiet ends">
        <span>${this.say("feed_in", { price: format.price(market.feed_in_micro_per_kwh) })}</span>
        <span>${this.say("supplier", { price: format.price(supplier) })}</span>
      </p>
    </section>`;
  }

  private compare(format: Format, price: number, supplier: number): string {
    const word = price < supplier ? "price_below" : price > supplier ? "price_above" : "price_same";
    return this.say(word, { price: format.price(price), difference: format.price(Math.abs(supplier - price)) });
  }

  private present(snapshot: Snapshot, row: Interval | undefined): TemplateResult {
    const format = this.format(snapshot);
    const start = startOf(snapshot, Math.floor(this.marketTime()));
    const span = format.span(start, start + (snapshot.market?.interval_s ?? 0));
    const wh = row?.position_wh ?? 0;
    const side = wh < 0 ? "sell" : wh > 0 ? "buy" : "";
    const words = wh < 0 ? "selling" : wh > 0 ? "buying" : "no_trade";
    return html`<section data-side=${side}>
      <h3>${this.say("this_interval", { span })}</h3>
      <p>${this.say(words, { energy: format.energy(Math.abs(wh)) })}</p>
    </section>`;
  }

  private coming(snapshot: Snapshot, row: Interval | undefined, gate: { start: number; closes: number }): TemplateResult {
    const format = this.format(snapshot);
    const span = format.span(gate.start, gate.start + (snapshot.market?.interval_s ?? 0));
    return html`<section data-side=${row?.plan?.side ?? ""}>
      <h3>${this.say("next_interval", { span })}</h3>
      <p>${this.forecast(format, row)}</p>
      <p>${row?.held ? this.say("cell_held") : this.planned(format, row?.plan ?? null)}</p>
      <p class="quiet" role="timer" aria-live="off">
        ${this.say("gate", { span: format.time(gate.start), left: countdown(gate.closes - this.marketTime()) })}
      </p>
    </section>`;
  }

  private forecast(format: Format, row: Interval | undefined): string {
    const forecast = row?.forecast;
    if (!forecast) return this.say("forecast_none");
    const { net_wh, low_wh, high_wh } = forecast;
    const word = net_wh < 0 ? "forecast_surplus" : net_wh > 0 ? "forecast_need" : "forecast_balanced";
    const text = this.say(word, { energy: format.energy(Math.abs(net_wh)) });
    if (low_wh === null || high_wh === null || net_wh === 0) return text;
    const [low, high] = net_wh < 0 ? [-high_wh, -low_wh] : [low_wh, high_wh];
    return `${text} (${this.say("between", { low: format.energy(low), high: format.energy(high) })})`;
  }

  private planned(format: Format, plan: Plan | null): string {
    if (!plan?.side || plan.energy_wh === null || plan.limit_micro_per_kwh === null) return this.say("plan_none");
    const filled = { energy: format.energy(plan.energy_wh), price: format.price(plan.limit_micro_per_kwh) };
    const text = this.say(plan.side === "sell" ? "plan_sell" : "plan_buy", filled);
    return text + this.remarks(plan);
  }

  private why(plan: Plan): TemplateResult {
    return html`<details>
      <summary><span>${this.say("why")}: ${this.named("sensor.last_decision", plan.rule)}</span></summary>
      <p lang="en">${plan.text}</p>
      ${plan.alternative ? html`<p class="quiet">${this.say("instead")}: <span lang="en">${plan.alternative}</span></p>` : nothing}
    </details>`;
  }

  private money(snapshot: Snapshot): TemplateResult {
    const account = snapshot.account;
    if (!account) return html``;
    const format = this.format(snapshot);
    const gain = snapshot.switches?.shadow ? this.reading(snapshot, "sensor.shadow_gain") : null;
    const sums = [
      ["saved", "sensor.saved_today", account.saved_micro],
      ["earned", "sensor.money_received_today", account.revenue_micro],
      ["paid", "sensor.money_paid_today", account.cost_micro],
    ] as const;
    return html`<dl class="figures">
      ${sums.map(([word, key, micro]) => this.sum(format, word, this.reading(snapshot, key), micro))}
      ${gain === null ? nothing : html`<div><dt>${this.say("shadow_gain")}</dt><dd>${format.money(1e6 * gain)}</dd></div>`}
    </dl>`;
  }

  private sum(format: Format, word: "saved" | "earned" | "paid", today: number | null, micro: number): TemplateResult {
    const all = format.money(micro);
    if (today === null) return html`<div><dt>${this.say(word)}</dt><dd>${all}</dd></div>`;
    return html`<div>
      <dt>${this.say(`${word}_today`)}</dt>
      <dd>${format.money(1e6 * today)}</dd>
      <dd class="quiet">${this.say("so_far", { all })}</dd>
    </div>`;
  }

  /** Return the number that one of the home's sensors shows, `null` when it shows none. */
  private reading(snapshot: Snapshot, key: string): number | null {
    const state = this.hass?.states[snapshot.entities[key] ?? ""]?.state ?? "";
    return state === "" || Number.isNaN(Number(state)) ? null : Number(state);
  }

  private controls(snapshot: Snapshot): TemplateResult {
    const { switches, policy, entities } = snapshot;
    if (!switches) return html``;
    const chooser = entities["select.policy"];
    const name = policy ? `${this.say("policy")}: ${this.named("select.policy", policy)}` : "";
    return html`<div class="tags">
      ${this.tradingSwitch(switches.trading, entities["switch.trading"])}
      ${chooser ? html`<button type="button" @click=${() => this.showMore(chooser)}>${name}</button>` : html`<span>${name}</span>`}
      ${(["shadow", "away", "opted_out"] as const).map((word) =>
        switches[word] ? html`<span class="mark">${this.say(word)}</span>` : nothing,
      )}
    </div>`;
  }

  private tradingSwitch(on: boolean, entity: string | undefined): TemplateResult {
    if (!entity) return html`<span>${this.say("trade_switch")} ${this.say(on ? "on" : "off")}</span>`;
    const turn = (): void =>
      void this.hass?.callService("switch", on ? "turn_off" : "turn_on", { entity_id: entity }).catch(() => undefined);
    return html`<button type="button" role="switch" class="switch" aria-checked=${on} @click=${turn}>
      <i aria-hidden="true"></i>${this.say("trade_switch")} <span aria-hidden="true">${this.say(on ? "on" : "off")}</span>
    </button>`;
  }
}
