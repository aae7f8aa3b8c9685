// The price of each interval as a step line between feed-in tariff and supplier's tariff.

import { shape } from "./dom.js";
import { energy, moment, price, span } from "./format.js";

const HEIGHT = 280;
const SHOWN = 60;
const EDGE = { left: 54, right: 12, top: 22, bottom: 26 };
const VOLUME = 40; // the strip of traded energy below the prices
const GAP = 16;

export function drawPrices(holder, readout, intervals, market, now) {
  const priced = intervals.filter((i) => i.price_micro_per_kwh !== null).slice(-SHOWN);
  const width = Math.max(280, holder.clientWidth);
  const plot = scales(priced, market, width, now);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": describe(priced, market) });
  svg.append(...backdrop(plot, market), ...volumes(plot, priced, market), ...steps(plot, priced, market));
  const here = plot.x(now);
  if (here >= EDGE.left && here <= width - EDGE.right) {
    svg.append(shape("line", { class: "now", x1: here, x2: here, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    svg.append(shape("text", { x: here + 4, y: EDGE.top - 8 }, "now"));
  }
  const latest = priced.filter((i) => i.delivery_start <= now).at(-1) ?? priced.at(-1);
  attachCursor(svg, readout, plot, priced, market, latest);
  holder.replaceChildren(svg);
}

function scales(priced, market, width, now) {
  const prices = priced.map((i) => i.price_micro_per_kwh);
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = market.tariff;
  const highest = Math.max(supplier, ...prices) * 1.08;
  const lowest = Math.max(0, Math.min(feedIn, ...prices) - supplier * 0.06);
  const from = priced.length ? priced[0].delivery_start : now - 20 * market.interval_s;
  const least = from + 12 * market.interval_s;
  const until = Math.max(least, priced.length ? priced.at(-1).delivery_start + market.interval_s : now);
  const across = width - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom - VOLUME - GAP;
  return {
    width,
    from,
    until,
    x: (at) => EDGE.left + ((at - from) / (until - from)) * across,
    y: (value) => EDGE.top + (1 - (value - lowest) / (highest - lowest)) * down,
    floor: HEIGHT - EDGE.bottom,
  };
}

function backdrop(plot, market) {
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = market.tariff;
  const end = plot.width - EDGE.right;
  const line = (name, value) => shape("line", { class: name, x1: EDGE.left, x2: end, y1: plot.y(value), y2: plot.y(value) });
  const label = (name, value, text) => shape("text", { class: name, x: EDGE.left + 6, y: plot.y(value) - 6 }, text);
  const nodes = [
    shape("rect", { class: "between", x: EDGE.left, width: end - EDGE.left, y: plot.y(supplier), height: plot.y(feedIn) - plot.y(supplier) }),
    line("tariff", supplier),
    line("feed-in", feedIn),
    label("tariff-label", supplier, `supplier ${price(supplier)}`),
    label("feed-in-label", feedIn, `feed-in ${price(feedIn)}`),
  ];
  for (const value of [feedIn, (supplier + feedIn) / 2, supplier]) {
    nodes.push(shape("text", { x: EDGE.left - 8, y: plot.y(value) + 4, "text-anchor": "end" }, price(value)));
  }
  const intervals = (plot.until - plot.from) / market.interval_s;
  const step = Math.ceil(intervals / Math.max(2, Math.floor((end - EDGE.left) / 90))) * market.interval_s;
  for (let at = plot.from; at <= plot.until; at += step) {
    if (plot.x(at) > end - 18 && at !== plot.until) continue; // it would be cut off
    const anchor = at === plot.from ? "start" : at === plot.until ? "end" : "middle";
    nodes.push(shape("text", { x: plot.x(at), y: HEIGHT - 6, "text-anchor": anchor }, moment(at)));
  }
  return nodes;
}

function volumes(plot, priced, market) {
  const most = Math.max(1, ...priced.map((i) => i.volume_wh));
  const label = shape("text", { x: EDGE.left - 8, y: plot.floor - VOLUME + 10, "text-anchor": "end" }, priced.length ? "energy" : "");
  const bars = priced.map((i) => {
    const height = (i.volume_wh / most) * VOLUME;
    const left = plot.x(i.delivery_start);
    const wide = Math.max(1, plot.x(i.delivery_start + market.interval_s) - left - 1);
    return shape("rect", { class: "volume", x: left, width: wide, y: plot.floor - height, height });
  });
  return [label, ...bars];
}

function steps(plot, priced, market) {
  let path = "";
  let previousEnd = null;
  for (const interval of priced) {
    const y = plot.y(interval.price_micro_per_kwh).toFixed(1);
    const start = plot.x(interval.delivery_start).toFixed(1);
    path += previousEnd === interval.delivery_start ? `V${y}` : `M${start} ${y}`;
    previousEnd = interval.delivery_start + market.interval_s;
    path += `H${plot.x(previousEnd).toFixed(1)}`;
  }
  return path ? [shape("path", { class: "price", d: path })] : [];
}

function attachCursor(svg, readout, plot, priced, market, latest) {
  const cursor = shape("line", { class: "cursor", y1: EDGE.top, y2: plot.floor, visibility: "hidden" });
  svg.append(cursor);
  const say = (interval) => {
    readout.textContent = interval
      ? `${span(interval.delivery_start, market.interval_s)} · ${price(interval.price_micro_per_kwh)} ${market.currency}/kWh · ${energy(interval.volume_wh)} in ${interval.trades} ${interval.trades === 1 ? "trade" : "trades"}`
      : "no price yet";
  };
  say(latest);
  svg.addEventListener("pointermove", (event) => {
    const share = (event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width;
    const at = plot.from + ((share * plot.width - EDGE.left) / (plot.width - EDGE.left - EDGE.right)) * (plot.until - plot.from);
    const found = priced.findLast((i) => i.delivery_start <= at) ?? priced[0];
    if (!found) return;
    const middle = plot.x(found.delivery_start + market.interval_s / 2);
    cursor.setAttribute("x1", middle);
    cursor.setAttribute("x2", middle);
    cursor.setAttribute("visibility", "visible");
    say(found);
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    say(latest);
  });
}

function describe(priced, market) {
  if (!priced.length) return "No interval has a price yet.";
  const prices = priced.map((i) => i.price_micro_per_kwh);
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = market.tariff;
  return (
    `Prices of the last ${priced.length} intervals, from ${price(Math.min(...prices))} to ${price(Math.max(...prices))} ` +
    `${market.currency} per kWh; the supplier takes ${price(supplier)}, the grid pays ${price(feedIn)}.`
  );
}
