// Demand and supply of one interval by price, and the point where they meet.
// What is wanted at a price falls as the price rises, what is offered rises with it.

import { shape } from "./dom.js";
import { amount, energy, price } from "./format.js";

const HEIGHT = 300;
const EDGE = { left: 40, right: 14, top: 46, bottom: 40 };
const BEYOND = 0.35; // of the distance between feed-in and supplier's tariff: farther prices stand at the edge
const STEEPER = 4; // the larger side is cut where it is this many times the smaller one

export function drawDepth(holder, readout, book, market) {
  const curves = curvesOf(book);
  const width = Math.max(280, holder.clientWidth);
  const plot = scales(curves, market, width);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": sentence(book, market) });
  svg.append(...grid(plot), ...tariffs(plot, market), ...areas(plot, curves), ...names(plot, curves));
  if (book?.crossing) svg.append(...meeting(plot, book.crossing));
  attachCursor(svg, readout, plot, curves, market);
  holder.replaceChildren(svg);
}

// The answer before the picture.
export function sentence(book, market) {
  const unit = `${market.currency}/kWh`;
  if (!book || !(book.bids.length || book.asks.length)) return "Nobody asks for energy and nobody offers any.";
  if (book.crossing) {
    const { price_micro_per_kwh: at, volume_wh: volume } = book.crossing;
    return `Demand meets supply at ${price(at)} ${unit}: ${energy(volume)} would trade if the auction were now.`;
  }
  const [bid, ask] = [book.bids[0], book.asks[0]];
  if (!ask) return `${energy(total(book.bids))} are wanted; nothing is offered.`;
  if (!bid) return `${energy(total(book.asks))} are offered; nobody asks for energy.`;
  if (bid[0] === null || ask[0] === null || bid[0] >= ask[0]) return "Demand meets supply, but lines between the nodes may limit what trades: their auction decides.";
  return `Bids up to ${price(bid[0])}, offers from ${price(ask[0])} ${unit}: ${price(ask[0] - bid[0])} apart, so nothing trades.`;
}

const total = (levels) => levels.reduce((sum, level) => sum + level[1], 0);

function curvesOf(book) {
  const bids = book?.bids ?? [];
  const asks = book?.asks ?? [];
  const priced = (levels) => levels.filter((level) => level[0] !== null).sort((a, b) => a[0] - b[0]);
  const anyPrice = (levels) => total(levels.filter((level) => level[0] === null));
  return {
    bids: priced(bids),
    asks: priced(asks),
    wanted: (at) => total(bids.filter((level) => level[0] === null || level[0] >= at)),
    offered: (at) => total(asks.filter((level) => level[0] === null || level[0] <= at)),
    most: { wanted: total(bids), offered: total(asks) },
    anyPrice: { wanted: anyPrice(bids), offered: anyPrice(asks) },
  };
}

function scales({ bids, asks, most }, market, width) {
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = market.tariff;
  const reach = (supplier - feedIn) * BEYOND;
  const near = [...bids, ...asks].map((level) => level[0]).filter((p) => p >= feedIn - reach && p <= supplier + reach);
  const margin = (supplier - feedIn) * 0.08;
  const low = Math.max(0, Math.min(feedIn, ...near) - margin);
  const high = Math.max(supplier, ...near) + margin;
  const [less, more] = [most.wanted, most.offered].sort((a, b) => a - b);
  const top = Math.max(1, (less ? Math.min(more, less * STEEPER) : more) * 1.06);
  const across = width - EDGE.left - EDGE.right;
  const down = HEIGHT - EDGE.top - EDGE.bottom;
  const within = (value, least, greatest) => Math.min(greatest, Math.max(least, value));
  return {
    width,
    low,
    high,
    top,
    left: EDGE.left,
    right: width - EDGE.right,
    floor: HEIGHT - EDGE.bottom,
    x: (value) => EDGE.left + ((within(value, low, high) - low) / (high - low)) * across,
    y: (value) => EDGE.top + (1 - within(value, 0, top) / top) * down,
    priceAt: (x) => low + ((x - EDGE.left) / across) * (high - low),
  };
}

function grid(plot) {
  const nodes = [shape("line", { class: "axis", x1: plot.left, x2: plot.right, y1: plot.floor, y2: plot.floor })];
  const [unit, scale] = plot.top < 1500 ? ["Wh", 1] : ["kWh", 1000];
  nodes.push(shape("text", { x: plot.left - 8, y: EDGE.top - 16, "text-anchor": "end" }, unit));
  for (const value of round(0, plot.top, 4)) {
    const y = plot.y(value);
    if (value) nodes.push(shape("line", { class: "grid", x1: plot.left, x2: plot.right, y1: y, y2: y }));
    nodes.push(shape("text", { x: plot.left - 8, y: y + 4, "text-anchor": "end" }, amount(value / scale)));
  }
  for (const value of round(plot.low, plot.high, Math.max(2, Math.floor((plot.right - plot.left) / 80)))) {
    const x = plot.x(value);
    const anchor = x > plot.right - 16 ? "end" : x < plot.left + 16 ? "start" : "middle";
    nodes.push(shape("text", { x, y: plot.floor + 18, "text-anchor": anchor }, price(value)));
  }
  nodes.push(shape("text", { x: plot.right, y: HEIGHT - 4, "text-anchor": "end" }, "price per kWh →"));
  return nodes;
}

// Round numbers between two, at most as many as asked for and one.
function round(least, greatest, most) {
  const rough = (greatest - least) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(least / step);
  return Array.from({ length: Math.floor(greatest / step) - first + 1 }, (_, index) => (first + index) * step);
}

function tariffs(plot, market) {
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = market.tariff;
  const line = (name, value) => shape("line", { class: name, x1: plot.x(value), x2: plot.x(value), y1: EDGE.top - 24, y2: plot.floor });
  return [
    line("feed-in", feedIn),
    line("tariff", supplier),
    shape("text", { class: "feed-in-label", x: plot.x(feedIn) - 4, y: EDGE.top - 30 }, `feed-in ${price(feedIn)}`),
    shape("text", { class: "tariff-label", x: plot.x(supplier) + 4, y: EDGE.top - 30, "text-anchor": "end" }, `supplier ${price(supplier)}`),
  ];
}

function areas(plot, { bids, asks, most, anyPrice }) {
  const fall = steps(plot, bids, most.wanted, -1);
  const rise = steps(plot, asks, anyPrice.offered, 1);
  const fill = (name, path) => shape("path", { class: name, d: `${path}V${plot.floor}H${plot.left}Z` });
  const edge = (name, path) => shape("path", { class: name, d: path });
  return [fill("wanted-area", fall), fill("offered-area", rise), edge("wanted", fall), edge("offered", rise)];
}

// A step line from the lowest price to the highest; each level adds or takes its energy at its price.
function steps(plot, levels, from, sign) {
  let height = from;
  let path = `M${plot.left} ${plot.y(height).toFixed(1)}`;
  for (const [at, wh] of levels) {
    height += sign * wh;
    path += `H${plot.x(at).toFixed(1)}V${plot.y(height).toFixed(1)}`;
  }
  return `${path}H${plot.right}`;
}

function names(plot, { most }) {
  const above = (value) => plot.y(value) - 7;
  const found = [];
  if (most.wanted) found.push(shape("text", { class: "wanted-label", x: plot.left + 8, y: above(most.wanted) }, `wanted ${energy(most.wanted)}`));
  if (most.offered) {
    const label = { class: "offered-label", x: plot.right - 6, y: above(most.offered), "text-anchor": "end" };
    found.push(shape("text", label, `offered ${energy(most.offered)}`));
  }
  return found;
}

function meeting(plot, crossing) {
  const [x, y] = [plot.x(crossing.price_micro_per_kwh), plot.y(crossing.volume_wh)];
  const [low, high] = crossing.price_range.map(plot.x);
  const leftward = x > (plot.left + plot.right) / 2;
  const words = `${price(crossing.price_micro_per_kwh)} · ${energy(crossing.volume_wh)}`;
  return [
    shape("line", { class: "meets", x1: x, x2: x, y1: y, y2: plot.floor }),
    shape("line", { class: "meets", x1: plot.left, x2: x, y1: y, y2: y }),
    shape("line", { class: "meets-range", x1: low, x2: Math.max(high, low + 1), y1: plot.floor, y2: plot.floor }),
    shape("circle", { class: "meets-at", cx: x, cy: y, r: 5 }),
    shape("text", { class: "meets-label", x: x + (leftward ? -10 : 10), y: Math.min(plot.floor - 8, y + 20), "text-anchor": leftward ? "end" : "start" }, words),
  ];
}

function attachCursor(svg, readout, plot, curves, market) {
  const cursor = shape("line", { class: "cursor", y1: EDGE.top, y2: plot.floor, visibility: "hidden" });
  svg.append(cursor);
  const rest = `Prices are what sellers receive, in ${market.currency}/kWh`;
  readout.textContent = rest;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = Math.min(plot.right, Math.max(plot.left, ((event.clientX - box.left) / box.width) * plot.width));
    const at = Math.round(plot.priceAt(x));
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    readout.textContent = `At ${price(at)} ${market.currency}/kWh: ${energy(curves.wanted(at))} wanted, ${energy(curves.offered(at))} offered`;
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = rest;
  });
}
