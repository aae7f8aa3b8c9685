// Adds the integration to Home Assistant as a person does: in Chromium, field by field, with what the dialog proposes.
// Usage: node join.mjs JOB.json; the job names chromium, folder, url, user, password, coordinator, invite, watch_first.
// Prints the text of each step as a JSON list; a screenshot of each lies in the folder.
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const STEPS_MAX = 10;
const STEP_MS = 1_000;

async function logIn(page) {
  await page.goto(`${job.url}/`, { waitUntil: "domcontentloaded" });
  await page.locator('input[name="username"]').fill(job.user);
  await page.locator('input[name="password"]').fill(job.password);
  await page.keyboard.press("Enter");
  await page.locator("home-assistant-main").waitFor({ state: "attached", timeout: 60_000 });
}

// What only the person knows, typed into the first step's fields; and shadow mode turned off before it begins.
async function fill(dialog, number, text) {
  if (number === 1) {
    for (const [place, typed] of [job.coordinator, job.invite].entries()) await dialog.locator("input").nth(place).fill(typed);
  }
  if (text.includes(job.watch_first)) await dialog.locator("ha-switch").first().click();
}

function visibleText(root) {
  const parts = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) parts.push(node.textContent.trim());
    else if (!["SCRIPT", "STYLE"].includes(node.nodeName)) {
      for (const child of (node.shadowRoot ?? node).childNodes) walk(child);
      if (node.nodeName === "SLOT") for (const child of node.assignedNodes()) walk(child);
    }
  };
  walk(root);
  return parts.filter(Boolean).join("\n");
}

const title = (text) => text.split("\n")[0];

// Waits until another step is there, or the dialog has closed itself.
async function settled(page, dialog, before) {
  for (let waited = 0; waited < 60_000; waited += STEP_MS) {
    await page.waitForTimeout(STEP_MS);
    const now = await dialog.evaluate(visibleText);
    if (!now || (title(now) !== title(before) && /(Submit|Finish|Skip and finish)$/.test(now))) return;
  }
}

async function run() {
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "join-")), {
    executablePath: job.chromium, headless: true, args: flags, locale: "en-GB", timezoneId: "Europe/Berlin",
    viewport: { width: 1280, height: 1100 }, reducedMotion: "reduce",
  });
  const page = context.pages()[0];
  await logIn(page);
  await page.goto(`${job.url}/config/integrations/dashboard/add?domain=energy_trade`, { waitUntil: "domcontentloaded" });
  await page.getByRole("button", { name: "OK" }).click();
  const steps = [], dialog = page.locator("dialog-data-entry-flow");
  const button = dialog.getByRole("button", { name: /^(Submit|Finish|Skip and finish)$/ }).last();
  await button.waitFor({ timeout: 60_000 });
  while (steps.length < STEPS_MAX && await button.isVisible()) {
    const text = await dialog.evaluate(visibleText);
    steps.push(text);
    await page.screenshot({ path: join(job.folder, `join-${steps.length}.png`) });
    await fill(dialog, steps.length, text);
    await button.click();
    await settled(page, dialog, text);
  }
  await context.close();
  console.log(JSON.stringify(steps));
}

await run();
