// Looks at cards in a real Home Assistant: a picture of each, what axe says of them, what they say, what they do.
// Usage: node cards.mjs JOB.json; what was found is printed as JSON.
// shot: {name, url, scheme?, width?, height?, language?, wait?, steps?: [[action, selector, value?]], module?}
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const CARDS = ["energy-trade-trading-card", "energy-trade-plan-card", "energy-trade-flow-card"];

function logIn({ url, tokens, language }) {
  const base = new URL(url).origin;
  localStorage.setItem("hassTokens", JSON.stringify({ ...tokens, hassUrl: base, clientId: `${base}/`,
    expires: Date.now() + 1000 * tokens.expires_in }));
  localStorage.setItem("dockedSidebar", '"always_hidden"');
  localStorage.setItem("selectedLanguage", JSON.stringify(language));
}

function everyCard(tags) {
  const found = [];
  const walk = (node) => {
    if (tags.includes(node.localName)) found.push(node);
    for (const child of [...(node.shadowRoot?.children ?? []), ...node.children]) walk(child);
  };
  walk(document.documentElement);
  return found.map((card) => ({ tag: card.localName, text: card.shadowRoot.textContent.replace(/\s+/g, " ").trim(),
    wide: [...card.shadowRoot.querySelectorAll("*")].filter((part) => !part.closest(".hidden, .scroll, svg")
      && part.getBoundingClientRect().right > card.getBoundingClientRect().right + 1).map((part) => part.outerHTML.slice(0, 120)) }));
}

function pathTo(tags) {
  const paths = [];
  const walk = (node, path) => {
    if (tags.includes(node.localName)) { node.id ||= `card-${paths.length}`; paths.push([...path, `#${node.id}`]); return; }
    for (const child of node.shadowRoot?.children ?? []) { if (node.id === "") node.id = `node-${Math.random().toString(36).slice(2)}`; walk(child, [...path, `#${node.id}`]); }
    for (const child of node.children) walk(child, path);
  };
  walk(document.documentElement, []);
  return paths;
}

async function step(page, [action, selector, value]) {
  const target = page.locator(selector).first();
  if (action === "press") await page.keyboard.press(selector);
  else if (action === "wait") await target.waitFor({ state: "visible", timeout: 30_000 });
  else if (action === "gone") await target.waitFor({ state: "hidden", timeout: 30_000 });
  else if (action === "focus") await target.focus();
  else if (action === "type") await page.getByPlaceholder(selector).fill(value);
  else await target.click({ timeout: 30_000 });
}

async function take(shot) {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "cards-")), {
    executablePath: job.chromium, headless: true, args: flags, locale: "en-GB", timezoneId: "Europe/Berlin",
    viewport: { width: shot.width ?? 1280, height: shot.height ?? 1400 }, colorScheme: shot.scheme ?? "light",
    reducedMotion: "reduce",
  });
  const page = context.pages()[0];
  const errors = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.addInitScript(logIn, { ...job.hass, language: shot.language ?? "en" });
  if (job.module) await page.route("**/energy_trade_static/*.js", (route) =>
    route.fulfill({ contentType: "text/javascript", body: readFileSync(job.module, "utf8") }));
  await page.goto(shot.url, { waitUntil: "domcontentloaded" });
  await page.locator(shot.wait ?? "energy-trade-trading-card .answer").first().waitFor({ state: "visible", timeout: 60_000 });
  await page.waitForTimeout(1_500);
  for (const one of shot.steps ?? []) await step(page, one);
  await page.waitForTimeout(500);
  const path = join(job.folder, `${shot.name}.png`);
  await page.screenshot({ path });
  const cards = await page.evaluate(everyCard, CARDS);
  const paths = await page.evaluate(pathTo, CARDS);
  await page.evaluate(axeSource);
  const violations = [];
  for (const include of paths) {
    const seen = await page.evaluate((fromShadowDom) => axe.run({ include: [{ fromShadowDom }] }), include);
    violations.push(...seen.violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => [node.html.slice(0, 200), node.failureSummary]) })));
  }
  const text = await page.evaluate(() => document.title);
  await context.close();
  return { name: shot.name, path, cards, violations, errors, text };
}

const results = [];
for (const shot of job.shots) results.push(await take(shot));
console.log(JSON.stringify(results));
