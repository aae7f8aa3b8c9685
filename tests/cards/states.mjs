// Shows the built cards in Chromium with a home that is played, in every state; axe judges each.
// Usage: node states.mjs JOB.json {chromium, module, folder, pictures?}; what was found is printed as JSON.
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { NOON, interval, plan, snapshot } from "../../cards/test/home.ts";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const CARDS = ["trading", "plan", "flow"];
const ENTITIES = { "switch.trading": "switch.home_trading", "select.policy": "select.home_policy", "sensor.saved_today": "sensor.saved", "sensor.money_paid_today": "sensor.paid", "sensor.shadow_gain": "sensor.gain" };

const quarter = (number, changes) => interval(NOON + 900 * number, changes);
const forecast = (net_wh) => ({ net_wh, low_wh: net_wh - 40, high_wh: net_wh + 40 });
const meter = { start: NOON - 900, end: NOON, consumption_wh: 0, production_wh: 320, position_wh: -250 };
const full = {
  entities: ENTITIES,
  meter,
  intervals: [
    quarter(-1, { price_micro_per_kwh: 210_000, traded_wh: 1_900, homes: 6, position_wh: -250 }),
    quarter(0, { price_micro_per_kwh: 214_000, traded_wh: 1_600, homes: 6, position_wh: -200 }),
    quarter(1, { forecast: forecast(-210), plan: plan() }),
    quarter(2, { forecast: forecast(-120), held: true, plan: plan({ side: null, energy_wh: null, limit_micro_per_kwh: null, rule: "held" }) }),
    quarter(3, { forecast: forecast(90), plan: plan({ side: "buy", energy_wh: 80, limit_micro_per_kwh: 240_000, rule: "buy_need" }), source_price_micro_per_kwh: 250_000 }),
    quarter(4, { forecast: forecast(0), plan: plan({ side: null, energy_wh: null, limit_micro_per_kwh: null, rule: "balanced" }) }),
  ],
};
/** From 09:00 on: sun until the evening, then need; four intervals are planned, one of the later ones is held. */
const sunny = (number) => Math.round(number < 36 ? -260 * Math.sin((Math.PI * (number + 8)) / 44) : 60 + 40 * Math.sin(number / 5));
const dayPlan = (number) => {
  const [net_wh, provisional] = [sunny(number), number > 4];
  if (Math.abs(net_wh) <= 40) return plan({ side: null, energy_wh: null, limit_micro_per_kwh: null, rule: "uncertain", provisional });
  const side = net_wh < 0 ? "sell" : "buy";
  return plan({ side, energy_wh: Math.abs(net_wh) - 40, limit_micro_per_kwh: side === "sell" ? 180_000 : 240_000, provisional });
};
const day = Array.from({ length: 96 }, (_, number) => number + 1)
  .map((number) => quarter(number, { forecast: forecast(sunny(number)), plan: dayPlan(number), held: number === 6, position_wh: number === 7 ? -70 : 0 }));
const nothing = { market: null, currency: null, policy: null, switches: null, grid: null, account: null, at: 0, entry_id: null, title: null };
const grid = (state, events = []) => ({ state, since: NOON - 600, frequency_mhz: 49_700, events });
const STATES = {
  running: snapshot(full),
  connecting: null,
  refused: "refused",
  disconnected: snapshot(full),
  missing: snapshot({ ...nothing, status: "missing" }),
  not_loaded: snapshot({ ...nothing, status: "not_loaded", title: "Elm Street", problem: "no answer" }),
  waiting: snapshot({ ...full, status: "waiting", account: null, connection: "offline" }),
  first: snapshot({ entities: ENTITIES }),
  offline: snapshot({ ...full, connection: "offline" }),
  stale: snapshot(full),
  emergency: snapshot({ ...full, grid: grid("emergency", [{ kind: "reduce", start: NOON, end: NOON + 3600, source: "balancing_request", text: "900 W less" }]) }),
  island: snapshot({ ...full, grid: grid("island") }),
  strained: snapshot({ ...full, grid: grid("strained") }),
  halted: snapshot({ ...full, market: { ...snapshot().market, state: "halted" } }),
  shadow: snapshot({ ...full, switches: { trading: false, shadow: true, away: true, opted_out: true }, entities: {} }),
  trial: snapshot({ ...full, switches: { ...snapshot().switches, shadow: true } }),
  bought: snapshot({ ...full, meter: { ...meter, consumption_wh: 320, production_wh: 0, position_wh: 200 } }),
  day: snapshot({ ...full, intervals: [...full.intervals.slice(0, 2), ...day] }),
  over: snapshot({ ...full, meter: { ...meter, position_wh: -400 } }),
};

const page_html = `<!doctype html><html lang="en"><head><title>Cards</title><style>
  :root { --primary-text-color: #141414; --card-background-color: #fff; --secondary-background-color: #e5e5e5; --divider-color: #e0e0e0; color-scheme: light dark }
  body { margin: 8px; font: 14px/1.45 "DejaVu Sans", sans-serif; background: #fafafa; display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)) }
  @media (prefers-color-scheme: dark) { :root { --primary-text-color: #e1e1e1; --card-background-color: #1c1c1c; --secondary-background-color: #282828; --divider-color: #333 } body { background: #111 } }
  main { display: contents } ha-card { background: var(--card-background-color); border: 1px solid var(--divider-color); border-radius: 12px }
</style></head><body><main></main></body></html>`;

/** In the page: play Home Assistant with this snapshot. */
async function play({ state, language, cards, late }) {
  customElements.get("home-assistant") ?? customElements.define("home-assistant", class extends HTMLElement {});
  const answered = window.answered = { listeners: [], called: [], more: [], refuse: "" };
  document.documentElement.lang = language;
  window.hass = {
    states: { "sensor.saved": { state: "0.12" }, "sensor.paid": { state: "unknown" }, "sensor.gain": { state: "1.5" } }, entities: {}, devices: {}, config: { time_zone: "Europe/Berlin" }, connected: state !== "disconnected", language,
    locale: { language: language === "en" ? "en-GB" : language, number_format: "language", time_format: "24", time_zone: "server" },
    connection: { subscribeMessage: (listener) => {
      answered.listeners.push(listener);
      if (late.snapshot === "refused") return Promise.reject(new Error("unknown_command"));
      if (late.snapshot) setTimeout(() => listener(late.snapshot));
      return Promise.resolve(() => Promise.resolve());
    } },
    callService: (...call) => { answered.called.push(call); return answered.refuse ? Promise.reject(new Error(answered.refuse)) : Promise.resolve(); },
    localize: (key) => key.endsWith("sell_surplus") ? "Sells what is left over" : "",
    loadBackendTranslation: () => Promise.resolve(),
  };
  addEventListener("hass-more-info", (event) => answered.more.push(event.detail.entityId));
  for (const card of cards) {
    const element = document.createElement(`energy-trade-${card}-card`);
    element.setConfig({ type: `custom:energy-trade-${card}-card` });
    element.hass = window.hass;
    document.querySelector("main").append(element);
  }
}

const read = () => [...document.querySelector("main").children].map((card) => card.shadowRoot.textContent.replace(/\s+/g, " ").trim());
const wide = () => [...document.querySelector("main").children].flatMap((card) => [...card.shadowRoot.querySelectorAll("*")]
  .filter((part) => !part.closest(".hidden, .scroll, svg") && part.getBoundingClientRect().right > innerWidth).map((part) => part.outerHTML.slice(0, 100)));

async function open(context, { state, language = "en" }) {
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.clock.install({ time: NOON * 1000 });
  await page.route("http://cards.test/**", (route) => route.fulfill(route.request().url().endsWith(".js")
    ? { contentType: "text/javascript", body: readFileSync(job.module, "utf8") } : { contentType: "text/html", body: page_html }));
  await page.goto("http://cards.test/");
  await page.addScriptTag({ url: "http://cards.test/cards.js", type: "module" });
  await page.waitForFunction(() => customElements.get("energy-trade-flow-card"));
  await page.evaluate(play, { state, language, cards: CARDS, late: { snapshot: STATES[state] } });
  await page.clock.runFor(2_000);
  if (state === "stale") await page.clock.runFor(1_815_000);
  await page.waitForTimeout(50);
  return { page, errors };
}

async function look(context, shot) {
  const { page, errors } = await open(context, shot);
  const [text, beyond] = [await page.evaluate(read), await page.evaluate(wide)];
  await page.evaluate(() => { for (const card of document.querySelector("main").children) for (const details of card.shadowRoot.querySelectorAll("details")) details.open = true; });
  await page.evaluate(axeSource);
  await page.clock.resume();
  const seen = await page.evaluate(() => axe.run("main"));
  const violations = seen.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)} ${nodes[0].failureSummary}`);
  if (job.pictures) await page.screenshot({ path: join(job.folder, `state-${shot.name}.png`), fullPage: true });
  await page.close();
  return { ...shot, text, wide: beyond, errors, violations };
}

/** Walk the plan by keyboard, ask for an interval, hold it; and use the switches. */
async function use(context) {
  const { page, errors } = await open(context, { state: "running" });
  await page.clock.resume();
  const focused = () => page.evaluate(() => document.activeElement.shadowRoot?.activeElement?.textContent.replace(/\s+/g, " ").trim());
  const called = () => page.evaluate(() => answered.called);
  const found = { errors, walked: [] };
  await page.locator("energy-trade-plan-card .cells button").first().focus();
  for (const key of ["ArrowRight", "ArrowRight", "Home", "End", "ArrowLeft", "ArrowUp"]) {
    await page.keyboard.press(key);
    found.walked.push(await focused());
  }
  found.tab_stops = await page.locator("energy-trade-plan-card .cells button[tabindex='0']").count();
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  const dialog = page.locator("energy-trade-plan-card dialog");
  await dialog.waitFor({ state: "visible" });
  found.asked = (await dialog.textContent()).replace(/\s+/g, " ").trim();
  await page.evaluate(axeSource);
  found.violations = (await page.evaluate(() => axe.run("main"))).violations.map(({ id }) => id);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  found.after_escape = { called: await called(), focus: await focused() };
  await page.evaluate(() => void (answered.refuse = "gate closed"));
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Take out of the plan" }).click();
  await dialog.getByRole("alert").waitFor();
  found.refused = await dialog.getByRole("alert").textContent();
  await page.evaluate(() => void (answered.refuse = ""));
  await dialog.getByRole("button", { name: "Take out of the plan" }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.locator("energy-trade-plan-card .cells button[data-action=held]").click();
  await dialog.getByRole("button", { name: "Put back into the plan" }).click();
  await dialog.waitFor({ state: "hidden" });
  found.held = await called();
  await page.locator("energy-trade-plan-card").getByRole("button", { name: "Show all" }).click();
  found.all = await page.locator("energy-trade-plan-card .cells button").count();
  await page.locator("energy-trade-trading-card").getByRole("switch").click();
  found.switched = (await called()).at(-1);
  await page.locator("energy-trade-trading-card").getByRole("button", { name: "Policy" }).click();
  found.more = await page.evaluate(() => answered.more);
  found.subscriptions = await page.evaluate(() => answered.listeners.length);
  const renders = await page.evaluate(async () => {
    const card = document.querySelector("energy-trade-flow-card");
    let count = 0;
    const render = card.render;
    card.render = function () { count++; return render.call(this); };
    for (let turn = 0; turn < 20; turn++) { card.hass = { ...window.hass, states: { ...window.hass.states, "sensor.other": { state: String(turn) } } }; await card.updateComplete; }
    return count;
  });
  found.renders = renders;
  await page.close();
  return found;
}

const shots = [
  ...Object.keys(STATES).map((state) => ({ name: state, state })),
  { name: "running-dark", state: "running", scheme: "dark" },
  { name: "running-de", state: "running", language: "de" },
  { name: "running-phone", state: "running", width: 390 },
  { name: "running-phone-dark-de", state: "running", width: 390, scheme: "dark", language: "de" },
  { name: "emergency-phone-dark", state: "emergency", width: 390, scheme: "dark" },
  { name: "shadow-phone-de", state: "shadow", width: 390, language: "de" },
  { name: "day-dark", state: "day", scheme: "dark" },
  { name: "day-phone-dark-de", state: "day", width: 390, scheme: "dark", language: "de" },
  { name: "over-phone-de", state: "over", width: 390, language: "de" },
];
const looked = [];
for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 390], ["dark", 390]]) {
  const wanted = shots.filter((shot) => (shot.scheme ?? "light") === scheme && (shot.width ?? 1280) === width);
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "states-")), {
    executablePath: job.chromium, headless: true, args: flags, colorScheme: scheme, viewport: { width, height: 900 },
    timezoneId: "Europe/Berlin", reducedMotion: width === 390 ? "reduce" : "no-preference" });
  for (const shot of wanted) looked.push(await look(context, shot));
  if (scheme === "light" && width === 1280) looked.push({ name: "used", ...(await use(context)) });
  await context.close();
}
console.log(JSON.stringify(looked));
