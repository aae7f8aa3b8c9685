// Takes screenshots of pages and runs axe on them, with the machine's own Chromium.
// Usage: node shots.mjs JOB.json; the job names a folder and shots; what was found is printed as JSON.
// shot: {name, url, wait?, text? (to wait for), scheme?, width?, height?, pause_ms?, axe?, hass?: {url, tokens}}
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

function logIn({ url, tokens }) {
  const base = new URL(url).origin;
  localStorage.setItem("hassTokens", JSON.stringify({ ...tokens, hassUrl: base, clientId: `${base}/`,
    expires: Date.now() + 1000 * tokens.expires_in }));
  localStorage.setItem("dockedSidebar", '"auto"');
}

function visibleText() {
  const parts = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) parts.push(node.textContent.trim());
    else if (!["SCRIPT", "STYLE"].includes(node.nodeName)) {
      for (const child of (node.shadowRoot ?? node).childNodes) walk(child);
      if (node.nodeName === "SLOT") for (const child of node.assignedNodes()) walk(child);
    }
  };
  walk(document.body);
  return parts.filter(Boolean).join("\n");
}

async function take(shot) {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "shots-")), {
    executablePath: job.chromium, headless: true, args: flags, locale: "en-GB", timezoneId: "Europe/Berlin",
    viewport: { width: shot.width ?? 1280, height: shot.height ?? 900 }, colorScheme: shot.scheme ?? "light",
    reducedMotion: "reduce",
  });
  const page = context.pages()[0];
  const errors = [];
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  if (shot.hass) await page.addInitScript(logIn, shot.hass);
  await page.goto(shot.url, { waitUntil: "domcontentloaded" });
  if (shot.wait) await page.locator(shot.wait).first().waitFor({ state: "attached", timeout: 60_000 });
  for (let tries = 0; shot.text && tries < 90 && !(await page.evaluate(visibleText)).includes(shot.text); tries++) {
    await page.waitForTimeout(1_000);
  }
  await page.waitForTimeout(shot.pause_ms ?? 1_500);
  const path = join(job.folder, `${shot.name}.png`);
  await page.screenshot({ path, fullPage: shot.full ?? false });
  let violations = [];
  if (shot.axe) {
    await page.evaluate(axeSource); // works under a strict content security policy, a script tag would not
    const found = await page.evaluate(() => axe.run());
    violations = found.violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html.slice(0, 200)) }));
  }
  const text = await page.evaluate(visibleText);
  await context.close();
  return { name: shot.name, path, violations, errors, text };
}

const results = [];
for (const shot of job.shots) results.push(await take(shot));
console.log(JSON.stringify(results));
