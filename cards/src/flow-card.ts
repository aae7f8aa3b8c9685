// The last metered interval: what came from and went to neighbours, apart from the supplier; and the whole community.
import { css, html, nothing, svg, type TemplateResult } from "lit";
import { TradeCard } from "./card.ts";
import { styles } from "./styles.ts";
import type { Account, Meter, Snapshot } from "./types.ts";
import { flows, rowAt, type Flow } from "./view.ts";
import type { Word } from "./words.ts";

const THIN = 3;
const THICK = 26;
const GAP = 1;
const MIDDLE: Record<"neighbours" | "supplier", number> = { neighbours: 26, supplier: 74 };

export class FlowCard extends TradeCard {
  static override styles = [
    styles,
    css`
      .picture {
        display: grid;
        grid-template-columns: minmax(max-content, 1fr) minmax(40px, 2fr) minmax(max-content, 1fr);
        grid-template-rows: 72px 72px;
      }
      .node {
        display: grid;
        place-content: center;
        padding: var(--gap-2);
        border: 1px solid var(--trade-line);
        border-radius: var(--round);
        text-align: center;
      }
      .node b {
        font-weight: var(--ha-font-weight-medium, 500);
      }
      .neighbours {
        grid-area: 1 / 1;
        margin-bottom: var(--gap-1);
        border-inline-start: 4px solid var(--trade-sell);
      }
      .supplier {
        grid-area: 2 / 1;
        margin-top: var(--gap-1);
        border-inline-start: 4px solid var(--trade-buy);
      }
      .home {
        grid-area: 1 / 3 / 3 / 3;
        border-width: 2px;
        border-color: var(--primary-color, #009ac7);
      }
      svg {
        grid-area: 1 / 2 / 3 / 2;
        height: 100%;
      }
      .share {
        display: flex;
        height: 12px;
        margin-top: var(--gap-2);
        overflow: hidden;
        border-radius: 6px;
        background: var(--trade-line);
      }
      .share i {
        background: var(--primary-color, #009ac7);
      }
    `,
  ];

  protected readonly kind: Word = "flow";

  protected body(snapshot: Snapshot): TemplateResult {
    const { meter, account } = snapshot;
    return html`${meter ? this.last(snapshot, meter) : html`<p>${this.say("flow_none")}</p>`}
    ${account ? this.totals(snapshot, account) : nothing}`;
  }

  private last(snapshot: Snapshot, meter: Meter): TemplateResult {
    const net = meter.consumption_wh - meter.production_wh;
    const found = flows(net, meter.position_wh ?? 0);
    return html`<p class="answer">${this.sentence(snapshot, meter, net)}</p>
      ${this.picture(snapshot, found)} ${this.community(snapshot, meter)} ${this.table(snapshot, found)}`;
  }

  private sentence(snapshot: Snapshot, meter: Meter, net: number): string {
    const format = this.format(snapshot);
    const traded = meter.position_wh ?? 0;
    const rest = net - traded;
    const filled = {
      span: format.span(meter.start, meter.end),
      net: format.energy(Math.abs(net)),
      market: format.energy(Math.abs(traded)),
      rest: format.energy(Math.abs(rest)),
    };
    if (net === 0 && traded === 0) return this.say("flow_even", filled);
    if (traded !== 0 && rest !== 0 && traded > 0 !== rest > 0) {
      return this.say(traded < 0 ? "flow_oversold" : "flow_overbought", filled);
    }
    return this.say(net > 0 ? "flow_took" : "flow_gave", filled);
  }

  private picture(snapshot: Snapshot, found: Flow[]): TemplateResult {
    const format = this.format(snapshot);
    const most = Math.max(1, ...found.map((flow) => flow.wh));
    const at = (place: "neighbours" | "supplier"): TemplateResult[] =>
      found
        .filter((flow) => flow.key.endsWith(place))
        .map((flow) => html`<span>${flow.key.startsWith("from") ? "→" : "←"} ${format.energy(flow.wh)}</span>`);
    return html`<div class="picture" aria-hidden="true">
      <div class="node neighbours"><b>${this.say("neighbours")}</b>${at("neighbours")}</div>
      <div class="node supplier"><b>${this.say("supplier_grid")}</b>${at("supplier")}</div>
      <svg viewBox="0 0 100 100" preserveAspectRatio="none">${found.map((flow) => ribbon(flow, most))}</svg>
      <div class="node home"><b>${this.say("home")}</b></div>
    </div>`;
  }

  private community(snapshot: Snapshot, meter: Meter): TemplateResult {
    const traded = rowAt(snapshot, meter.start)?.traded_wh ?? null;
    if (traded === null) return html`<p>${this.say("community_unknown")}</p>`;
    const format = this.format(snapshot);
    const own = Math.min(traded, Math.abs(meter.position_wh ?? 0));
    const share = traded > 0 ? format.percent(own, traded) : "";
    const word = own > 0 ? "community_share" : "community_other";
    return html`<section>
      <p>${this.say(word, { all: format.energy(traded), share })}</p>
      <div class="share" aria-hidden="true"><i style="width:${traded > 0 ? (100 * own) / traded : 0}%"></i></div>
    </section>`;
  }

  private totals(snapshot: Snapshot, account: Account): TemplateResult {
    const format = this.format(snapshot);
    return html`<section>
      <h3>${this.say("totals")}</h3>
      <dl class="figures">
        <div><dt>${this.say("bought")}</dt><dd>${format.energy(account.bought_wh)}</dd></div>
        <div><dt>${this.say("sold")}</dt><dd>${format.energy(account.sold_wh)}</dd></div>
        <div><dt>${this.say("saved")}</dt><dd>${format.money(account.saved_micro)}</dd></div>
      </dl>
    </section>`;
  }

  private table(snapshot: Snapshot, found: Flow[]): TemplateResult {
    const format = this.format(snapshot);
    return html`<details>
      <summary>${this.say("as_table")}</summary>
      <table>
        <thead>
          <tr><th scope="col">${this.say("what")}</th><th scope="col">${this.say("energy")}</th></tr>
        </thead>
        <tbody>
          ${found.map((flow) => html`<tr><td>${this.say(flow.key)}</td><td class="number">${format.energy(flow.wh)}</td></tr>`)}
        </tbody>
      </table>
    </details>`;
  }
}

/** Draw one flow; its width is its share of the greatest. */
function ribbon(flow: Flow, most: number): TemplateResult {
  const middle = flow.key.endsWith("neighbours") ? MIDDLE.neighbours : MIDDLE.supplier;
  const half = (THIN + ((THICK - THIN) * flow.wh) / most) / 2;
  const end = 50 + (middle < 50 ? -half - GAP : half + GAP);
  const colour = flow.key.endsWith("neighbours") ? "var(--trade-sell)" : "var(--trade-buy)";
  const path = `M0 ${middle - half}C50 ${middle - half} 50 ${end - half} 100 ${end - half}V${end + half}C50 ${end + half} 50 ${middle + half} 0 ${middle + half}Z`;
  return svg`<path d=${path} style="fill:${colour}" fill-opacity="0.75" />`;
}
