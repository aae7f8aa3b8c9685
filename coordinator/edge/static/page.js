// The live page: one stream, one picture of the market, drawn again once per change.

import { drawPrices } from "./chart.js";
import { drawDepth, sentence } from "./depth.js";
import { byId, element, emptyRow, right, row, setText } from "./dom.js";
import * as say from "./format.js";

const STALE_S = 25;
const HOUR_S = 3600;
const TRADES_SHOWN = 12;
const INTERVALS_SHOWN = 14;
const AUCTIONS_SHOWN = 12;
const LEVELS_SHOWN = 6;
const STAGES = ["open", "gate_closed", "settled", "confirmed"];
const STAGE_WORDS = {
  open: "open",
  gate_closed: "gate closed",
  settled: "settled, on its way to the chain",
  confirmed: "on chain",
  idle: "nothing to settle",
};

const OUTCOMES = {
  cleared: "cleared",
  optimal: "cleared, proved best",
  feasible: "cleared, a gap is left",
};

const seen = { market: null, accounts: new Map(), intervals: new Map(), books: new Map(), auctions: new Map(), trades: [] };
let picked = null; // the delivery that the reader chose to see the book of
let connection = "connecting";
let heardAt = 0;
let aheadMs = 0; // the coordinator's clock minus ours
let attempts = 0;
let drawing = false;

const now = () => Math.floor((Date.now() + aheadMs) / 1000);

function connect() {
  const address = new URL("/api/v1/stream", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.addEventListener("message", (message) => {
    attempts = 0;
    heardAt = Date.now();
    receive(JSON.parse(message.data));
  });
  socket.addEventListener("close", () => {
    connection = seen.market ? "offline" : "connecting";
    attempts += 1;
    setTimeout(connect, Math.min(30000, 500 * 2 ** Math.min(attempts, 6)) * (0.5 + Math.random() / 2));
    draw();
  });
}

function receive(message) {
  connection = "live";
  if (message.type !== "event") aheadMs = message.at * 1000 - Date.now();
  if (message.type === "snapshot") {
    for (const part of [seen.accounts, seen.intervals, seen.books, seen.auctions]) part.clear();
    seen.trades = message.trades;
  }
  if (message.type === "event" && message.event === "traded") addTrade(message);
  if (message.market) seen.market = message.market;
  for (const account of message.accounts ?? []) seen.accounts.set(account.account, account);
  for (const interval of message.intervals ?? []) seen.intervals.set(interval.delivery_start, interval);
  for (const book of message.books ?? []) seen.books.set(book.delivery_start, book);
  for (const auction of message.auctions ?? []) seen.auctions.set(`${auction.kind} ${auction.at}`, auction);
  draw();
}

function addTrade(message) {
  if (seen.trades.some((trade) => trade.trade_id === message.data.trade_id)) return;
  seen.trades = [{ at: message.at, ...message.data }, ...seen.trades].slice(0, 50);
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawConnection();
    if (!seen.market) return;
    const intervals = [...seen.intervals.values()].sort((a, b) => a.delivery_start - b.delivery_start);
    drawMarket();
    drawSentence(intervals);
    drawFigures(intervals);
    drawPrices(byId("price-chart"), byId("price-readout"), intervals, seen.market, now());
    drawPriceTable(intervals);
    const start = chosenStart();
    drawPick(start);
    drawDemand(start);
    drawBook(start);
    drawTrades();
    drawAuctions();
    drawHomes();
    drawSettlement(intervals);
  });
}

function drawConnection() {
  if (connection === "live" && Date.now() - heardAt > STALE_S * 1000) connection = "stale";
  const words = {
    connecting: "Connecting",
    live: "Live",
    stale: `Silent for ${say.duration((Date.now() - heardAt) / 1000)}`,
    offline: `Offline, last news ${say.clock((heardAt + aheadMs) / 1000)}`,
  };
  const chip = byId("connection");
  chip.dataset.state = connection;
  setText(chip, words[connection]);
  byId("main").classList.toggle("old", connection === "offline" || connection === "stale");
}

function drawMarket() {
  const { name, state } = seen.market;
  setText(byId("market-name"), name);
  document.title = `${name} · Energy Trade`;
  const chip = byId("trading");
  chip.hidden = false;
  chip.dataset.state = state;
  setText(chip, state === "open" ? "Market open" : "Trading halted");
}

// The last hour's settled intervals: the sentence and the figures use the same numbers.
function lastHour(intervals) {
  const recent = intervals.filter((i) => i.settled_wh !== null && i.delivery_start + seen.market.interval_s > now() - HOUR_S);
  const { supplier_micro_per_kwh: supplier, feed_in_micro_per_kwh: feedIn } = seen.market.tariff;
  const settled = recent.reduce((sum, i) => sum + i.settled_wh, 0);
  return { intervals: recent.length, settled, better: (settled * (supplier - feedIn)) / 1000 };
}

function drawSentence(intervals) {
  const { settled, better, intervals: number } = lastHour(intervals);
  const { currency, tariff, interval_s: interval } = seen.market;
  const homes = seen.accounts.size;
  if (settled > 0) {
    setText(byId("sentence"), `The street bought ${say.energy(settled)} from itself in the last hour, ${say.money(better, currency)} better than the tariff.`);
    setText(
      byId("substance"),
      `${number} settled ${number === 1 ? "interval" : "intervals"} of ${say.length(interval)} and ${homes} homes. Buyers would have paid ${say.price(tariff.supplier_micro_per_kwh)}, ` +
        `sellers would have got ${say.price(tariff.feed_in_micro_per_kwh)} ${currency} per kWh; the difference stayed in the street.`,
    );
  } else {
    setText(byId("sentence"), homes ? `${homes} homes are here; nothing has been settled in the last hour.` : "The market is open and waits for its first home.");
    setText(byId("substance"), `An interval of ${say.length(interval)} settles after its delivery, when the meters' signed readings are there.`);
  }
}

function drawFigures(intervals) {
  const { currency } = seen.market;
  const hour = lastHour(intervals);
  const priced = intervals.filter((i) => i.price_micro_per_kwh !== null && i.delivery_start <= now()).at(-1);
  const confirmed = intervals.filter((i) => i.stage === "confirmed");
  const gas = confirmed.reduce((sum, i) => sum + (i.gas_used ?? 0), 0);
  const figures = [
    ["Price now", priced ? say.price(priced.price_micro_per_kwh) : "–", `${currency} per kWh`],
    ["Shared, last hour", say.energy(hour.settled), `${hour.intervals} intervals settled`],
    ["Stayed here, last hour", say.money(hour.better, currency), "against tariff and feed-in"],
    ["On chain", say.count(confirmed.length), confirmed.length ? `${say.count(gas / confirmed.length)} gas each` : "batches shown below"],
  ];
  byId("figures").replaceChildren(
    ...figures.map(([term, value, note]) => element("div", {}, element("dt", {}, term), element("dd", {}, value, element("small", {}, note)))),
  );
}

function drawPriceTable(intervals) {
  const { interval_s: interval } = seen.market;
  const rows = intervals.filter((i) => i.price_micro_per_kwh !== null).reverse();
  byId("price-rows").replaceChildren(
    ...(rows.length
      ? rows.map((i) => row([say.span(i.delivery_start, interval), right(say.price(i.price_micro_per_kwh)), right(say.energy(i.volume_wh)), right(say.count(i.trades))]))
      : [emptyRow("No interval has a price yet.", 4)]),
  );
}

// The earliest interval whose gate is still open.
function nextStart() {
  const { interval_s: interval, gate_s: gate } = seen.market;
  return (Math.floor((now() + gate) / interval) + 1) * interval;
}

const hasOrders = (book) => book.bids.length + book.asks.length > 0;

function openStarts() {
  const next = nextStart();
  return [...seen.books.values()].filter((book) => book.delivery_start >= next && hasOrders(book)).map((book) => book.delivery_start).sort((a, b) => a - b);
}

// What the reader picked while it is open, else the next interval that has orders.
function chosenStart() {
  const starts = openStarts();
  if (picked !== null && starts.includes(picked)) return picked;
  picked = null;
  return starts[0] ?? nextStart();
}

function drawPick(start) {
  const { interval_s: interval } = seen.market;
  const pick = byId("depth-pick");
  const starts = openStarts();
  const values = (starts.length ? starts : [start]).map(String);
  if ([...pick.options].map((option) => option.value).join() !== values.join()) {
    pick.replaceChildren(...values.map((value) => element("option", { attributes: { value } }, say.span(Number(value), interval))));
  }
  if (pick.value !== String(start)) pick.value = String(start);
}

function drawDemand(start) {
  const book = seen.books.get(start);
  const { fees, currency, lines } = seen.market;
  setText(byId("depth-sentence"), sentence(book, seen.market));
  drawDepth(byId("depth-chart"), byId("depth-readout"), book, seen.market);
  const parts = [];
  if (fees.community_micro_per_kwh) parts.push(`${say.price(fees.community_micro_per_kwh)} ${currency}/kWh`);
  if (fees.community_share_ppm) parts.push(`${say.share(fees.community_share_ppm)} of the price`);
  const onTop = parts.length ? `Buyers pay the community ${parts.join(" and ")} on top.` : "";
  const apart = lines.length ? "All nodes together; what crosses a line trades in auctions only." : "";
  setText(byId("depth-fees"), [onTop, apart].filter(Boolean).join(" "));
}

function drawBook(start) {
  const { interval_s: interval, currency } = seen.market;
  setText(byId("book-when"), `${say.span(start, interval)}, in ${currency}/kWh`);
  const book = seen.books.get(start);
  const asks = (book?.asks ?? []).slice(0, LEVELS_SHOWN).reverse();
  const bids = (book?.bids ?? []).slice(0, LEVELS_SHOWN);
  const most = Math.max(1, ...asks.map((l) => l[1]), ...bids.map((l) => l[1]));
  const level = (name, word) => (l) => {
    const made = row([word, right(l[0] === null ? "any" : say.price(l[0])), right(say.energy(l[1])), right(say.count(l[2]))], { class: name });
    made.style.setProperty("--share", (l[1] / most).toFixed(3));
    return made;
  };
  const gap = spread(asks.at(-1), bids[0]);
  byId("book-rows").replaceChildren(
    ...(asks.length || bids.length
      ? [...asks.map(level("ask", "Offer")), row([{ text: gap, span: 4 }], { class: "spread", unnamed: true }), ...bids.map(level("bid", "Bid"))]
      : [emptyRow("No orders yet. They come before the gate closes, and leave the book when they trade.", 4)]),
  );
}

function spread(ask, bid) {
  if (!ask) return "nothing is offered";
  if (!bid) return "nobody asks for energy";
  return ask[0] === null || bid[0] === null || bid[0] >= ask[0] ? "they meet in the auction" : `${say.price(ask[0] - bid[0])} apart`;
}

function outcomeWords(outcome) {
  const [word, cause] = outcome.split(/: (.*)/s);
  return word === "fallback" ? `without bundles and lines: ${cause}` : (OUTCOMES[outcome] ?? outcome);
}

function auctionName({ kind, at }) {
  return kind === "session" ? `Session at ${say.moment(at)}` : `Gate of ${say.span(at, seen.market.interval_s)}`;
}

function drawAuctions() {
  const { currency, stages, rule } = seen.market;
  const auctions = [...seen.auctions.values()].sort((a, b) => b.cleared_at - a.cleared_at || b.at - a.at).slice(0, AUCTIONS_SHOWN);
  const welfare = say.moneyColumn(auctions.map((a) => a.welfare_micro ?? 0), currency);
  byId("auction-rows").replaceChildren(
    ...(auctions.length
      ? auctions.map((a) =>
          row([
            auctionName(a),
            right(a.price_micro_per_kwh === null ? (a.volume_wh ? "several" : "–") : say.price(a.price_micro_per_kwh)),
            right(a.volume_wh ? say.energy(a.volume_wh) : "–"),
            right(a.welfare_micro === null || !a.volume_wh ? "–" : welfare.plain(a.welfare_micro)),
            { text: outcomeWords(a.outcome), class: `wrap ${a.outcome.startsWith("fallback") ? "worse" : ""}`.trim(), title: a.rule },
            { content: element("a", { attributes: { href: `/api/v1/${a.kind === "session" ? "session-auctions" : "auctions"}/${a.at}` } }, "certificate") },
          ]),
        )
      : [emptyRow("No auction yet: one is held at each gate.", 6)]),
  );
  const every = stages.session_every_s;
  const next = every ? `next session at ${say.moment((Math.floor(now() / every) + 1) * every)}, ` : "";
  setText(byId("auctions-readout"), `${next}rule ${rule.name}`);
}

const nameOf = (account) => seen.accounts.get(account)?.name ?? (account ? say.shortHash(account) : "–");

function fromTo(seller, buyer) {
  return element("span", {}, seller, element("span", { class: "arrow", attributes: { role: "img", "aria-label": "to" } }, "→"), buyer);
}

function drawTrades() {
  const { interval_s: interval } = seen.market;
  byId("trade-rows").replaceChildren(
    ...(seen.trades.length
      ? seen.trades.slice(0, TRADES_SHOWN).map((t) =>
          row([
            { text: say.moment(t.delivery_start), title: say.span(t.delivery_start, interval) },
            { content: fromTo(nameOf(t.seller), nameOf(t.buyer)), class: "wrap" },
            right(say.energy(t.energy_wh)),
            right(say.price(t.price_micro_per_kwh)),
          ]),
        )
      : [emptyRow("No trades yet.", 4)]),
  );
}

function drawHomes() {
  const { currency } = seen.market;
  const homes = [...seen.accounts.values()].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const column = say.moneyColumn(homes.map((a) => a.saved_micro), currency);
  const saved = (micro) => right(column.signed(micro), micro > 0 ? "better" : micro < 0 ? "worse" : "quiet");
  const cells = (a) => [right(say.energy(a.bought_wh)), right(say.energy(a.sold_wh)), right(say.energy(a.energy_wh)), right(say.money(a.money_micro, currency)), saved(a.saved_micro)];
  byId("home-rows").replaceChildren(...(homes.length ? homes.map((a) => row([{ text: a.name, title: a.account }, ...cells(a)])) : [emptyRow("No home has joined yet.", 6)]));
  const sum = (name) => homes.reduce((total, a) => total + a[name], 0);
  const all = Object.fromEntries(["bought_wh", "sold_wh", "energy_wh", "money_micro", "saved_micro"].map((name) => [name, sum(name)]));
  byId("home-total").replaceChildren(...(homes.length > 1 ? [row(["All homes", ...cells(all)])] : []));
  setText(byId("homes-readout"), homes.length ? `${homes.length} homes; money that moved between them sums to zero` : "");
}

function stageCell(stage) {
  const reached = STAGES.indexOf(stage);
  const dots = STAGES.map((_, index) => element("i", { class: index <= reached ? "on" : "" }));
  const marks = element("span", { class: "dots", attributes: { "aria-hidden": "true" } }, ...dots);
  return element("span", { class: "stage" }, marks, STAGE_WORDS[stage] ?? stage);
}

function drawSettlement(intervals) {
  const { interval_s: interval, currency } = seen.market;
  const rows = intervals.filter((i) => i.stage !== "idle").slice(-INTERVALS_SHOWN).reverse();
  const values = say.moneyColumn(rows.map((i) => i.value_micro ?? 0), currency);
  byId("settlement-rows").replaceChildren(
    ...(rows.length
      ? rows.map((i) =>
          row([
            say.span(i.delivery_start, interval),
            stageCell(i.stage),
            right(i.settled_wh === null ? `– of ${say.energy(i.volume_wh)}` : `${say.energy(i.settled_wh)} of ${say.energy(i.volume_wh)}`),
            right(i.value_micro === null ? "–" : values.plain(i.value_micro)),
            right(i.homes ? say.count(i.homes) : "–"),
            i.transaction ? { text: say.shortHash(i.transaction), class: "hash", title: i.transaction } : { text: "–", class: "quiet" },
            right(i.gas_used === null ? "–" : say.count(i.gas_used)),
          ]),
        )
      : [emptyRow("No interval has been traded yet.", 7)]),
  );
  const waiting = intervals.filter((i) => i.stage === "settled").length;
  setText(byId("settlement-readout"), waiting ? `${waiting} on the way to the chain` : "");
}

function tick() {
  drawConnection();
  if (!seen.market) return;
  const { gate_s: gate, interval_s: interval } = seen.market;
  const left = nextStart() - gate - now();
  setText(byId("clock"), say.clock(now()));
  setText(byId("gate-left"), say.duration(left));
  setText(byId("gate-what"), `until trading for ${say.span(nextStart(), interval)} ends`);
  byId("gate-fill").style.setProperty("--left", Math.min(1, left / interval).toFixed(4));
  if (left === interval || left === interval - 1) draw(); // another interval is next: its book
}

async function checkReadiness() {
  const notice = byId("notice");
  const show = (text) => {
    notice.hidden = !text;
    notice.replaceChildren(...(text ? [element("p", {}, text)] : []));
  };
  try {
    const health = await (await fetch("/readyz", { cache: "no-store" })).json();
    const waiting = health.waiting_effects ? ` ${health.waiting_effects} of them wait.` : "";
    if (health.trading === "halted") show(`Trading is halted: ${health.reason}`);
    else if (health.chain === "unreachable") show(`The chain cannot be reached. Trading goes on; settlements wait and follow.${waiting}`);
    else if (health.failed_effects) show(`${health.failed_effects} transactions were refused by a contract; the operator has to look.`);
    else show("");
  } catch {
    if (connection === "offline") show("The coordinator does not answer. What is shown is what it said last.");
  }
}

byId("depth-pick").addEventListener("change", (event) => {
  picked = Number(event.target.value);
  draw();
});
connect();
setInterval(tick, 1000);
setInterval(checkReadiness, 10000);
checkReadiness();
new ResizeObserver(draw).observe(byId("price-chart"));
